//! The hashes of the engine: xxh3-128 over the content of a file, xxh3-64 over what the engine
//! stores itself (a guard against damage, not against an adversary), and the eight bits by which
//! a name is found within a page. Part of the file format: none of them may change.

use xxhash_rust::xxh3::{Xxh3, xxh3_64, xxh3_64_with_seed};

/// A running xxh3-128 over the content of one file.
pub(crate) struct ContentHasher(Box<Xxh3>);

impl ContentHasher {
    pub(crate) fn new() -> Self {
        Self(Box::new(Xxh3::new()))
    }

    pub(crate) fn update(&mut self, bytes: &[u8]) {
        self.0.update(bytes);
    }

    pub(crate) fn finish(&self) -> u128 {
        self.0.digest128()
    }
}

/// The checksum of a stored row. `seed` binds it to its key, so a row under another key fails.
pub(crate) fn checksum(seed: u64, bytes: &[u8]) -> u64 {
    xxh3_64_with_seed(bytes, seed)
}

/// A value that is equal for equal bytes, for "have the rules changed since".
pub(crate) fn digest(bytes: &[u8]) -> u64 {
    xxh3_64(bytes)
}

/// Eight bits of a name. Names in one directory mostly differ in their last bytes, so all bytes
/// count: a multiply and rotate over words of eight bytes, the last word overlapping.
pub(crate) fn name_tag(name: &[u8]) -> u8 {
    const K: u64 = 0x9E37_79B9_7F4A_7C15;
    let mix = |h: u64, word: u64| (h ^ word).wrapping_mul(K).rotate_left(29);
    let mut h = (name.len() as u64).wrapping_mul(K);
    match name.last_chunk::<8>() {
        Some(last) => {
            let mut rest = name;
            while let Some((word, after)) = rest.split_first_chunk::<8>() {
                h = mix(h, u64::from_le_bytes(*word));
                rest = after;
            }
            h = mix(h, u64::from_le_bytes(*last));
        }
        None => h = mix(h, name.iter().fold(0, |word, &b| (word << 8) | u64::from(b))),
    }
    (h.wrapping_mul(K) >> 56) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_keeps_its_tag_for_ever() {
        // Values of format version 1, worked out by another program from docs/format.md.
        for (name, tag) in [(&b""[..], 0), (b"a", 38), (b"README.md", 100), (b"IMG_20240312_1423.jpg", 141)] {
            assert_eq!(name_tag(name), tag, "{name:?}");
        }
        let mut seen = [0u32; 256];
        for i in 0..25_600 {
            seen[usize::from(name_tag(format!("IMG_{i:05}.jpg").as_bytes()))] += 1;
        }
        assert!(seen.iter().all(|n| (50..200).contains(n)), "tags spread evenly: {seen:?}");
    }

    #[test]
    fn content_hash_is_xxh3_128() {
        let mut hasher = ContentHasher::new();
        hasher.update(b"tree");
        hasher.update(b"warden");
        assert_eq!(hasher.finish(), xxhash_rust::xxh3::xxh3_128(b"treewarden"));
        assert_eq!(ContentHasher::new().finish(), 0x99aa_06d3_0147_98d8_6001_c324_468d_497f);
    }
}
