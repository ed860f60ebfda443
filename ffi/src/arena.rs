//! Memory for views that live as long as their handle: it grows in chunks and never moves.

/// Bytes of a chunk, unless one view needs more.
const CHUNK_BYTES: usize = 64 * 1024;

#[derive(Default)]
pub(crate) struct Arena {
    full: Vec<Vec<u8>>,
    chunk: Vec<u8>,
}

impl Arena {
    /// Keeps a copy; the view is good until [`Arena::clear`], or until this goes.
    #[inline]
    pub(crate) fn keep(&mut self, bytes: &[u8]) -> crate::args::tw_bytes {
        if self.chunk.capacity() - self.chunk.len() < bytes.len() {
            let fresh = Vec::with_capacity(bytes.len().max(CHUNK_BYTES));
            self.full.push(std::mem::replace(&mut self.chunk, fresh));
        }
        let from = self.chunk.len();
        self.chunk.extend_from_slice(bytes);
        crate::args::tw_bytes::of(self.chunk.get(from..).unwrap_or_default())
    }

    /// Lets all views go; the last chunk is used again.
    pub(crate) fn clear(&mut self) {
        self.full.clear();
        self.chunk.clear();
    }
}
