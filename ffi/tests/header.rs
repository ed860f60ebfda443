//! The committed header is what the sources say. `make header` writes it anew.

#![allow(clippy::unwrap_used, clippy::panic)]

use std::path::Path;

fn generated() -> String {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let config = cbindgen::Config::from_file(here.join("cbindgen.toml")).unwrap();
    let bindings = cbindgen::Builder::new().with_crate(here).with_config(config).generate().unwrap();
    let mut header = Vec::new();
    bindings.write(&mut header);
    String::from_utf8(header).unwrap()
}

#[test]
fn the_header_is_made_from_the_sources() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../include/treewarden.h");
    let header = generated();
    if std::env::var_os("TREEWARDEN_WRITE_HEADER").is_some() {
        std::fs::write(&path, &header).unwrap();
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(committed == header, "include/treewarden.h is not what the sources say: run `make header`");
}

#[test]
fn every_function_is_documented_and_ends_with_an_error() {
    let header = generated();
    let without_error = ["tw_version", "tw_abi_version", "tw_status_name", "tw_str"];
    let mut comment = false;
    let mut functions = 0;
    let mut lines = header.lines().peekable();
    while let Some(line) = lines.next() {
        let name = line.split('(').next().unwrap_or_default().rsplit([' ', '*']).next().unwrap_or_default();
        let is_function =
            name.starts_with("tw_") && line.contains('(') && !line.starts_with([' ', '/', '#', 't'])
                || line.starts_with("tw_status tw_") && line.contains('(');
        if is_function {
            let mut whole = line.to_owned();
            while !whole.contains(';') {
                whole.push_str(lines.next().unwrap());
            }
            assert!(comment || name == "tw_str", "{name} has no comment");
            let ends_well = whole.trim_end().ends_with("struct tw_error **error);")
                || whole.trim_end().ends_with("tw_error **error);");
            assert!(ends_well || without_error.contains(&name), "{name} takes no error: {whole}");
            functions += 1;
        }
        comment = line == " */";
    }
    assert!(functions > 100, "only {functions} functions were found");
}
