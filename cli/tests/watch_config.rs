//! `treewarden watch --config`: what a file says is done, a file that changes is applied, a bad one is
//! refused with the place in it.

#![cfg(unix)]
#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use std::fs;

use crate::support::{Watcher, World, err, out, text};

/// A root of a configuration.
fn root(name: &str, path: &str, more: &str) -> String {
    format!("[roots.{name}]\npath = \"{path}\"\n{more}\n")
}

/// Replaces the configuration as most editors do.
fn configure(world: &World, text: &str) {
    world.write("watch.toml", text);
}

#[test]
fn a_configuration_says_what_is_watched_and_how() {
    let world = World::new();
    world.write("tree/a.txt", "a");
    world.write("tree/a.part", "a");
    fs::create_dir(world.path("unnamed")).unwrap();
    world.json(&["scan", "unnamed"]);
    let watch = "[watch]\ndebounce_ms = 20\ntime_zone = \"UTC\"\nquick = \"0 3 * * *\"\n";
    configure(
        &world,
        &format!("{watch}{}", root("music", "tree", "ignore = [\"*.part\"]\nhash = \"changed\"")),
    );

    let mut watcher = world.watch(&["watch", "--config", "watch.toml"]);
    world.write("unnamed/not.txt", "not");
    world.write("tree/b.part", "b");
    world.write("tree/b.txt", "b");
    watcher.out.until_all(&["added", "music/b.txt"]);
    watcher.signal("USR1");
    watcher.err.until_all(&["music: ", "next quick scan"]);
    let (told, err) = watcher.end();
    assert!(told.iter().all(|line| line.contains("music/") && !line.contains(".part")), "{told:#?}");
    assert!(err.iter().any(|line| line.starts_with("watching 1 root, 1 file")), "{err:#?}");
    let roots = world.json(&["roots"]);
    assert_eq!(roots.len(), 2);
    assert_eq!((text(&roots[0], "root"), text(&roots[0], "content_hash")), ("music", "changed"));
}

#[test]
fn the_state_file_of_a_configuration_is_used_unless_another_is_named() {
    let world = World::new();
    fs::create_dir(world.path("deep")).unwrap();
    let text = format!("db = \"own.tw\"\n{}", root("music", "../tree", ""));
    world.write("deep/watch.toml", &text);

    let mut watcher = Watcher::new(&mut world.command(&["watch", "--config", "deep/watch.toml"]));
    watcher.err.until("watching ");
    watcher.end();
    assert!(world.path("deep/own.tw").exists() && !world.path("state.tw").exists());

    world.watch(&["watch", "--config", "deep/watch.toml"]).end();
    assert!(world.path("state.tw").exists());
}

#[test]
fn a_configuration_that_changes_is_applied_while_it_runs() {
    let world = World::new();
    fs::create_dir(world.path("other")).unwrap();
    world.write("other/old.txt", "old");
    configure(&world, &root("tree", "tree", ""));
    let mut watcher = world.watch(&["watch", "--config", "watch.toml"]);

    // Noticed by itself.
    configure(&world, &format!("{}{}", root("tree", "tree", ""), root("other", "other", "")));
    watcher.err.until("configuration read again: new root `other`: ");
    watcher.err.until("other: seen for the first time, 1 file");
    world.write("other/new.txt", "new");
    watcher.out.until_all(&["added", "other/new.txt"]);
    world.write("tree/a.txt", "a");
    watcher.out.until_all(&["added", "tree/a.txt"]);

    // Asked for; rules of a root hold from then on.
    configure(&world, &root("tree", "tree", "ignore = [\"*.part\"]"));
    watcher.signal("HUP");
    let told = watcher.err.until("configuration read again: ");
    assert!(told.contains("root `tree` has new options"), "{told}");
    assert!(told.contains("root `other` is not watched any more"), "{told}");
    world.write("other/unheard.txt", "unheard");
    world.write("tree/b.part", "b");
    world.write("tree/b.txt", "b");
    watcher.out.until_all(&["added", "tree/b.txt"]);

    let (told, _) = watcher.end();
    assert!(!told.iter().any(|line| line.contains("old.txt")), "{told:#?}");
    assert!(!told.iter().any(|line| line.contains("unheard") || line.contains(".part")), "{told:#?}");
}

#[test]
fn a_bad_configuration_changes_nothing_and_says_where_it_is_wrong() {
    let world = World::new();
    configure(&world, &root("tree", "tree", ""));
    let mut watcher = world.watch(&["watch", "--config", "watch.toml"]);

    let bad = [
        (root("tree", "tree", "debounce_ms = -5"), "watch.toml:3:15: `debounce_ms`"),
        (root("tree", "tree", "quick = \"0 0 30 2 *\""), "watch.toml:3:9: `quick`"),
        (root("tree", "nowhere", ""), "watch.toml:2:8: `path`"),
        (format!("{}[roots.new\n", root("tree", "tree", "")), "watch.toml:4:11: unclosed table"),
    ];
    for (number, (text, part)) in bad.iter().enumerate() {
        configure(&world, text);
        let told = watcher.err.until("the old settings stay");
        assert!(told.contains(part), "`{part}` is not in: {told}");
        world.write(&format!("tree/{number}.txt"), "x");
        watcher.out.until_all(&["added", &format!("tree/{number}.txt")]);
    }
    fs::remove_file(world.path("watch.toml")).unwrap();
    watcher.err.until_all(&["the old settings stay", "cannot be read"]);

    configure(&world, &root("tree", "tree", "debounce_ms = 10"));
    watcher.err.until("configuration read again: root `tree` is watched in another way");
    world.write("tree/good.txt", "x");
    watcher.out.until_all(&["added", "tree/good.txt"]);
    watcher.end();
}

#[test]
fn a_bad_configuration_at_the_start_is_wrong_usage_and_creates_nothing() {
    let world = World::new();
    let cases = [
        ("[watch]\nnice = 99\n".to_owned(), "watch.toml:2:8: `nice` is 0 to 19 steps, not 99"),
        (root("tree", "nowhere", ""), "watch.toml:2:8: `path`"),
        ("[roots".to_owned(), "watch.toml:1:7: unclosed table"),
        (String::new(), "watch.toml: it names no root to watch"),
    ];
    for (text, part) in cases {
        fs::write(world.path("watch.toml"), &text).unwrap();
        let refused = world.run(&["watch", "--config", "watch.toml"]);
        assert_eq!((refused.status.code(), out(&refused).as_str()), (Some(2), ""), "{text}");
        assert!(err(&refused).contains(part), "`{part}` is not in: {}", err(&refused));
    }
    let refused = world.run(&["watch", "--config", "nothing.toml"]);
    assert_eq!(refused.status.code(), Some(2));
    assert!(err(&refused).contains("nothing.toml"), "{}", err(&refused));
    assert!(!world.path("state.tw").exists());
}

#[test]
fn a_root_that_moved_keeps_what_is_known_of_it() {
    let world = World::new();
    world.write("tree/a.txt", "a");
    configure(&world, &root("tree", "tree", ""));
    world.watch(&["watch", "--config", "watch.toml"]).end();
    let id = world.json(&["ls"])[0]["id"].clone();

    fs::rename(world.path("tree"), world.path("elsewhere")).unwrap();
    configure(&world, &root("tree", "elsewhere", ""));
    let mut watcher = world.watch(&["watch", "--config", "watch.toml"]);
    world.write("elsewhere/b.txt", "b");
    watcher.out.until_all(&["added", "tree/b.txt"]);
    let (_, err) = watcher.end();
    let is_told = |line: &String| line.starts_with("root `tree` lies at ") && line.contains("elsewhere");
    assert!(err.iter().any(is_told), "{err:#?}");
    assert_eq!(world.json(&["ls", "tree/a.txt"])[0]["id"], id);
    assert!(!world.path("tree").exists());
}
