//! The floor: a client that does what no other can avoid. It walks the source, reads every file and puts it, without a signature, without
//! a checksum, and without keeping anything.

use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Instant;

use walkdir::WalkDir;

use crate::Result;
use crate::measure::{Record, record};

/// Up to so many bytes, head and content travel in one write.
const TOGETHER_BYTES: usize = 64 << 10;

/// Puts every file below `dir`, over so many connections.
pub(super) fn put_all(dir: &Path, port: u16, bucket: &str, connections: usize) -> Result<Record> {
    let start = Instant::now();
    let mut files = Vec::new();
    for entry in WalkDir::new(dir).min_depth(1) {
        let entry = entry?;
        if entry.file_type().is_file() {
            files.push(entry.into_path());
        }
    }
    let next = AtomicUsize::new(0);
    thread::scope(|scope| -> Result<()> {
        let work = || put_some(dir, &files, &next, port, bucket);
        let workers: Vec<_> = (0..connections).map(|_| scope.spawn(work)).collect();
        for worker in workers {
            worker.join().map_err(|_| "a thread of the bare client panicked")??;
        }
        Ok(())
    })?;
    Ok(record([("seconds", start.elapsed().as_secs_f64()), ("files", files.len() as f64)]))
}

fn put_some(dir: &Path, files: &[PathBuf], next: &AtomicUsize, port: u16, bucket: &str) -> Result<()> {
    let mut connection = Connection::open(port)?;
    let mut content = Vec::new();
    while let Some(file) = files.get(next.fetch_add(1, Ordering::Relaxed)) {
        content.clear();
        File::open(file)?.read_to_end(&mut content)?;
        let key = file.strip_prefix(dir)?.to_str().ok_or("a name in the source is not UTF-8")?;
        connection.put(&format!("/{bucket}/{key}"), &content)?;
    }
    Ok(())
}

/// One connection that is kept open.
struct Connection {
    stream: BufReader<TcpStream>,
}

impl Connection {
    fn open(port: u16) -> Result<Connection> {
        let stream = TcpStream::connect(("127.0.0.1", port))?;
        stream.set_nodelay(true)?;
        Ok(Connection { stream: BufReader::new(stream) })
    }

    fn put(&mut self, path: &str, content: &[u8]) -> Result<()> {
        let length = content.len();
        let mut request =
            format!("PUT {path} HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: {length}\r\n\r\n")
                .into_bytes();
        let stream = self.stream.get_mut();
        if length <= TOGETHER_BYTES {
            request.extend_from_slice(content);
            stream.write_all(&request)?;
        } else {
            stream.write_all(&request)?;
            stream.write_all(content)?;
        }
        self.answer()
    }

    /// Reads an answer to its end: the next one comes over the same connection.
    fn answer(&mut self) -> Result<()> {
        let status = self.line()?;
        let (mut length, mut is_chunked) = (0_u64, false);
        loop {
            let line = self.line()?;
            if line.is_empty() {
                break;
            }
            let Some((name, value)) = line.split_once(':') else { continue };
            if name.eq_ignore_ascii_case("content-length") {
                length = value.trim().parse()?;
            } else if name.eq_ignore_ascii_case("transfer-encoding") {
                is_chunked = true;
            }
        }
        let mut body = Vec::new();
        if is_chunked {
            loop {
                let size = u64::from_str_radix(&self.line()?, 16)?;
                // With the end of its line.
                self.stream.by_ref().take(size + 2).read_to_end(&mut body)?;
                if size == 0 {
                    break;
                }
            }
        } else {
            self.stream.by_ref().take(length).read_to_end(&mut body)?;
        }
        if status.split(' ').nth(1) != Some("200") {
            return Err(format!("{status}: {}", body.escape_ascii()).into());
        }
        Ok(())
    }

    fn line(&mut self) -> Result<String> {
        let mut line = String::new();
        if self.stream.read_line(&mut line)? == 0 {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
        line.truncate(line.trim_end().len());
        Ok(line)
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;

    use super::*;

    const REQUEST: &str = "PUT /b/k HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Length: 2\r\n\r\nhi";

    #[test]
    fn answers_of_both_kinds_are_read_to_their_ends() -> Result<()> {
        let listener = TcpListener::bind(("127.0.0.1", 0))?;
        let port = listener.local_addr()?.port();
        thread::scope(|scope| -> Result<()> {
            let server = scope.spawn(move || -> io::Result<Vec<u8>> {
                let (mut stream, _) = listener.accept()?;
                let mut asked = vec![0; 2 * REQUEST.len()];
                stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 3\r\n\r\nabc")?;
                stream.write_all(
                    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
                )?;
                stream.write_all(b"HTTP/1.1 500 No\r\ncontent-length: 1\r\n\r\nx")?;
                stream.read_exact(&mut asked)?;
                Ok(asked)
            });
            let mut connection = Connection::open(port)?;
            connection.put("/b/k", b"hi")?;
            connection.put("/b/k", b"hi")?;
            assert!(connection.answer().is_err());
            let asked = server.join().map_err(|_| "the server panicked")??;
            assert_eq!(asked, REQUEST.repeat(2).as_bytes());
            Ok(())
        })
    }
}
