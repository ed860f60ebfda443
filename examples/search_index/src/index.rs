//! The index: tantivy, with one document for each path.

use std::path::Path;

use tantivy::collector::DocSetCollector;
use tantivy::directory::MmapDirectory;
use tantivy::query::QueryParser;
use tantivy::schema::{Field, INDEXED, STORED, Schema, TEXT, Value};
use tantivy::{Index, IndexWriter, TantivyDocument, Term};

use crate::Error;

/// What tantivy may use before it writes.
const MEMORY_BYTES: usize = 50 << 20;

pub(crate) struct TextIndex {
    index: Index,
    /// Made with the first change: only one process can have one.
    writer: Option<IndexWriter>,
    path: Field,
    text: Field,
}

impl TextIndex {
    pub(crate) fn open(dir: &Path) -> Result<Self, Error> {
        std::fs::create_dir_all(dir)?;
        let mut schema = Schema::builder();
        // Paths are bytes.
        let path = schema.add_bytes_field("path", INDEXED | STORED);
        let text = schema.add_text_field("text", TEXT);
        let index = Index::open_or_create(MmapDirectory::open(dir)?, schema.build())?;
        Ok(Self { index, writer: None, path, text })
    }

    fn writer(&mut self) -> Result<&mut IndexWriter, Error> {
        if self.writer.is_none() {
            let writer = self.index.writer_with_num_threads(1, MEMORY_BYTES)?;
            // A commit that was killed has left files under names that the next one wants.
            writer.garbage_collect_files().wait()?;
            self.writer = Some(writer);
        }
        self.writer.as_mut().ok_or_else(|| "there is no writer".into())
    }

    /// Takes a document out, as far as there is one; with the next commit.
    pub(crate) fn remove(&mut self, path: &[u8]) -> Result<(), Error> {
        let term = Term::from_field_bytes(self.path, path);
        self.writer()?.delete_term(term);
        Ok(())
    }

    /// Puts a document in place of what was there under its path; with the next commit.
    pub(crate) fn put(&mut self, path: &[u8], text: &str) -> Result<(), Error> {
        self.remove(path)?;
        let mut document = TantivyDocument::new();
        document.add_bytes(self.path, path);
        document.add_text(self.text, text);
        self.writer()?.add_document(document)?;
        Ok(())
    }

    pub(crate) fn commit(&mut self) -> Result<(), Error> {
        self.writer()?.commit()?;
        Ok(())
    }

    /// The paths of the documents that hold all the words, sorted.
    pub(crate) fn search(&self, words: &str) -> Result<Vec<Vec<u8>>, Error> {
        let searcher = self.index.reader()?.searcher();
        let mut parser = QueryParser::for_index(&self.index, vec![self.text]);
        parser.set_conjunction_by_default();
        let query = parser.parse_query(words)?;
        let mut paths = Vec::new();
        for address in searcher.search(&query, &DocSetCollector)? {
            let document: TantivyDocument = searcher.doc(address)?;
            let path = document.get_first(self.path).and_then(|value| value.as_bytes().map(<[u8]>::to_vec));
            paths.extend(path);
        }
        paths.sort();
        Ok(paths)
    }
}
