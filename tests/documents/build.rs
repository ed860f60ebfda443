//! Makes one Rust file of each document that has Rust blocks, for `src/lib.rs` to compile. A block becomes the body of a
//! function; everything else becomes an empty line, so the compiler names the line of the document itself. What a block
//! may use without making it stands in [`GIVEN`].
//!
//! Doc-tests would be built and linked anew in every test run, and each block would have to make all that it uses, in
//! lines that readers of the documents see. This is built when a document or the library has changed, and not else.

use std::error::Error;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

/// What the blocks find at hand, and what readers of a document take for granted: an open warden is `warden`.
const GIVEN: &str = "\
    warden: treewarden::Warden, \
    older: treewarden::Snapshot, \
    cursor: treewarden::Cursor, \
    mirror: treewarden::mirror::Mirror, \
    fleet: treewarden::fleet::Fleet, \
    id: &str, secret: &str, token: &str";

/// What they bring along themselves is in `src/lib.rs`.
const BROUGHT: &str = "#[allow(unused_imports)] use crate::given::*;";

fn main() -> Result<(), Box<dyn Error>> {
    let top = Path::new("../..");
    println!("cargo::rerun-if-changed=../../README.md");
    println!("cargo::rerun-if-changed=../../docs");
    let out = PathBuf::from(std::env::var("OUT_DIR")?);
    let mut documents = vec![top.join("README.md")];
    for entry in fs::read_dir(top.join("docs"))? {
        documents.push(entry?.path());
    }
    documents.retain(|path| path.extension().is_some_and(|extension| extension == "md"));
    documents.sort();

    let (mut modules, mut count) = (String::new(), 0);
    for document in &documents {
        let (code, blocks) = compiled(document, &fs::read_to_string(document)?)?;
        if blocks == 0 {
            continue;
        }
        let stem = document.file_stem().and_then(|stem| stem.to_str()).ok_or("a document has an odd name")?;
        let file = out.join(format!("{stem}.md.rs"));
        fs::write(&file, code)?;
        writeln!(modules, "#[path = {file:?}]\nmod {};", stem.to_lowercase().replace('-', "_"))?;
        count += blocks;
    }
    writeln!(modules, "const BLOCKS: usize = {count};")?;
    fs::write(out.join("documents.rs"), modules)?;
    Ok(())
}

/// The Rust of a document, line by line where it stands there, and how many blocks that are.
fn compiled(document: &Path, text: &str) -> Result<(String, usize), Box<dyn Error>> {
    let (mut code, mut blocks) = (String::new(), 0);
    let (mut is_fenced, mut is_rust) = (false, false);
    for (line, number) in text.lines().zip(1..) {
        match line.trim_start().strip_prefix("```") {
            Some(_) if is_fenced => {
                code.push_str(if is_rust { "Ok(()) }" } else { "" });
                (is_fenced, is_rust) = (false, false);
            }
            Some(info) => {
                (is_fenced, is_rust) = (true, info == "rust" && line == "```rust");
                if is_rust {
                    blocks += 1;
                    write!(code, "fn line_{number}({GIVEN}) -> treewarden::Result<()> {{ {BROUGHT}")?;
                } else if info.to_lowercase().contains("rust") {
                    let place = document.display();
                    return Err(format!(
                        "{place}:{number}: Rust is fenced by ```rust, without flags or indent"
                    )
                    .into());
                }
            }
            None if is_rust => code.push_str(line),
            None => {}
        }
        code.push('\n');
    }
    if is_fenced {
        Err(format!("{}: the last block has no end", document.display()).into())
    } else {
        Ok((code, blocks))
    }
}
