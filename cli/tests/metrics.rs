//! `treewarden watch --metrics`: what is served, to whom, what a hostile client can do, and how it ends.

#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use std::io::{Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use crate::support::{HANG, Watcher, World, err, json, out, text};

const GET: &[u8] = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n";

/// Starts to watch and waits until it does; returns where the numbers are.
fn watch(world: &World, args: &[&str]) -> (Watcher, String) {
    let mut watcher = world.start(args);
    let line = watcher.err.until("serving metrics at ");
    let url = line.strip_prefix("serving metrics at http://").unwrap();
    let address = url.strip_suffix("/metrics").unwrap().to_owned();
    watcher.err.until("watching ");
    (watcher, address)
}

/// Sends this and nothing more, and returns the whole answer.
fn ask(address: &str, request: &[u8]) -> String {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(HANG)).unwrap();
    stream.write_all(request).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    answer
}

/// The page, which must be there.
fn scrape(address: &str) -> String {
    let answer = ask(address, GET);
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
    assert!(head.contains("\r\nContent-Type: text/plain; version=0.0.4"), "{head}");
    assert!(head.contains(&format!("\r\nContent-Length: {}\r\n", body.len())), "{head}");
    body.to_owned()
}

/// The value of a sample without labels, or with these.
fn number(page: &str, sample: &str) -> u64 {
    let found = page.lines().find_map(|line| line.strip_prefix(sample)?.strip_prefix(' '));
    found.unwrap_or_else(|| panic!("no {sample} in {page}")).parse().unwrap()
}

#[test]
fn the_numbers_are_served_while_it_watches() {
    let world = World::new();
    world.write("tree/old.txt", "old");
    let (mut watcher, address) = watch(&world, &["watch", "tree", "--metrics", "0"]);
    assert!(address.starts_with("127.0.0.1:") && !address.ends_with(":0"), "{address}");
    let first = scrape(&address);
    world.write("tree/new.txt", "longer");
    watcher.out.until_all(&["added", "tree/new.txt"]);
    let second = scrape(&address);
    let files = "treewarden_root_files{root=\"tree\"}";
    assert_eq!((number(&first, files), number(&second, files)), (1, 2));
    assert_eq!(number(&second, "treewarden_root_bytes{root=\"tree\"}"), 9);
    assert_eq!(number(&second, "treewarden_live_watching"), 1);
    assert!(number(&second, "treewarden_seq") > number(&first, "treewarden_seq"));

    let (_, told) = watcher.end();
    assert!(!told.iter().any(|line| line.starts_with("warning: ")), "{told:#?}");
}

#[test]
fn there_is_one_page_and_nothing_else() {
    let world = World::new();
    let (watcher, address) = watch(&world, &["watch", "tree", "--metrics", "127.0.0.1:0"]);
    let cases: [(&[u8], &str); 6] = [
        (b"GET / HTTP/1.1\r\n\r\n", "404"),
        (b"GET /metrics/x HTTP/1.0\r\n\r\n", "404"),
        (b"HEAD /metrics HTTP/1.1\r\n\r\n", "404"),
        (b"POST /metrics HTTP/1.1\r\nContent-Length: 3\r\n\r\nabc", "404"),
        (b"GET /metrics?collect=all HTTP/1.1\r\n\r\n", "200"),
        (b"\x16\x03\x01 hello\n\n", "400"),
    ];
    for (request, code) in cases {
        let answer = ask(&address, request);
        assert!(answer.starts_with(&format!("HTTP/1.1 {code} ")), "{}", String::from_utf8_lossy(request));
    }
    watcher.end();
}

#[test]
fn whoever_connects_can_neither_end_it_nor_hold_it_up() {
    let world = World::new();
    let (mut watcher, address) = watch(&world, &["watch", "tree", "--metrics", "0"]);
    // One that says nothing, one that stops half-way, one that goes away.
    let silent = TcpStream::connect(&address).unwrap();
    let mut slow = TcpStream::connect(&address).unwrap();
    slow.write_all(b"GET /metr").unwrap();
    let gone = TcpStream::connect(&address).unwrap();
    gone.shutdown(Shutdown::Both).unwrap();
    scrape(&address);
    // A body that never comes, of any length that is claimed.
    for length in ["5", "1000000000000", "18446744073709551615", "99999999999999999999999", "-1", "x"] {
        let request = format!("GET /metrics HTTP/1.1\r\nContent-Length: {length}\r\n\r\n");
        assert!(ask(&address, request.as_bytes()).starts_with("HTTP/1.1 200 "), "{length}");
    }
    // More than a head holds.
    let endless = [GET.strip_suffix(b"\r\n").unwrap(), &b"X: y\r\n".repeat(2_000)].concat();
    assert!(ask(&address, &endless).starts_with("HTTP/1.1 400 "));
    scrape(&address);
    world.write("tree/a.txt", "a");
    watcher.out.until_all(&["added", "tree/a.txt"]);

    let last = TcpStream::connect(&address).unwrap();
    watcher.end();
    drop((silent, slow, last));
}

#[test]
fn an_address_in_use_is_an_error_before_anything_is_done() {
    let world = World::new();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port().to_string();
    world.write("watch.toml", &format!("metrics = \"{port}\"\n[roots.music]\npath = \"tree\"\n"));
    for args in [&["watch", "tree", "--metrics", port.as_str()][..], &["watch", "--config", "watch.toml"]] {
        let refused = world.run(args);
        assert_eq!((refused.status.code(), out(&refused).as_str()), (Some(1), ""), "{args:?}");
        let told = err(&refused);
        assert!(told.contains(&format!("`127.0.0.1:{port}`: the address is in use")), "{told}");
        assert!(told.contains("hint: "), "{told}");
        assert!(!world.path("state.tw").exists(), "{args:?}");
    }
}

#[test]
fn an_address_that_makes_no_sense_is_wrong_usage() {
    let world = World::new();
    for bad in ["", "localhost", "65536", "-1", ":9464", "::1:9464", "http://localhost:9464"] {
        let refused = world.run(&["watch", "tree", &format!("--metrics={bad}")]);
        assert_eq!(refused.status.code(), Some(2), "{bad}: {}", err(&refused));
        assert!(err(&refused).contains("--metrics"), "{}", err(&refused));
    }
    assert!(!world.path("state.tw").exists());
}

#[test]
fn who_serves_more_than_this_machine_is_warned() {
    let world = World::new();
    let (watcher, address) = watch(&world, &["watch", "tree", "--metrics", "0.0.0.0:0"]);
    scrape(&address.replace("0.0.0.0", "127.0.0.1"));
    let (_, told) = watcher.end();
    let warned = told.iter().any(|line| line.starts_with("warning: ") && line.contains("names"));
    assert!(warned, "{told:#?}");
}

#[test]
fn a_configuration_may_say_where_and_the_flag_wins() {
    let world = World::new();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    world.write("good.toml", "metrics = \"0\"\n[roots.music]\npath = \"tree\"\n");
    world.write("taken.toml", &format!("metrics = \"{port}\"\n[roots.music]\npath = \"tree\"\n"));
    for args in
        [&["watch", "--config", "good.toml"][..], &["watch", "--config", "taken.toml", "--metrics", "0"]]
    {
        let (watcher, address) = watch(&world, args);
        assert_eq!(number(&scrape(&address), "treewarden_root_files{root=\"music\"}"), 0, "{args:?}");
        watcher.end();
    }
}

#[test]
fn programs_are_told_where_as_well() {
    let world = World::new();
    let mut watcher = world.start(&["watch", "tree", "--json", "--metrics", "0"]);
    let told = json(&watcher.err.until(r#""event":"metrics""#));
    let address = text(&told, "url").strip_prefix("http://").unwrap().strip_suffix("/metrics").unwrap();
    // The page is there before the roots are watched.
    let begun = Instant::now();
    while !scrape(address).contains("treewarden_live_paused 0\n") {
        assert!(begun.elapsed() < HANG, "{}", scrape(address));
        thread::sleep(Duration::from_millis(10));
    }
    watcher.end();
}
