//! Writing and reading the small binary rows of the state file: little-endian words, LEB128
//! numbers, length-prefixed bytes. Reading never trusts a length.

/// A row that ends too early or holds a value that cannot be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Malformed;

pub(crate) trait Put {
    fn put_num(&mut self, value: u64);
    fn put_bytes(&mut self, bytes: &[u8]);
    fn put_i64(&mut self, value: i64);
    fn put_u64(&mut self, value: u64);
}

impl Put for Vec<u8> {
    /// LEB128: seven bits a byte, lowest first.
    fn put_num(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.push(value as u8);
    }

    fn put_bytes(&mut self, bytes: &[u8]) {
        self.put_num(bytes.len() as u64);
        self.extend_from_slice(bytes);
    }

    fn put_i64(&mut self, value: i64) {
        self.extend_from_slice(&value.to_le_bytes());
    }

    fn put_u64(&mut self, value: u64) {
        self.extend_from_slice(&value.to_le_bytes());
    }
}

/// Small differences of either sign as small numbers: 0, -1, 1, -2 become 0, 1, 2, 3.
#[inline]
pub(crate) fn zigzag(value: i64) -> u64 {
    ((value << 1) ^ (value >> 63)) as u64
}

/// The way back from [`zigzag`].
#[inline]
pub(crate) fn unzigzag(value: u64) -> i64 {
    (value >> 1) as i64 ^ -((value & 1) as i64)
}

/// A cursor over a row.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Take<'a>(pub(crate) &'a [u8]);

impl<'a> Take<'a> {
    pub(crate) fn is_done(&self) -> bool {
        self.0.is_empty()
    }

    pub(crate) fn u8(&mut self) -> Result<u8, Malformed> {
        let (first, rest) = self.0.split_first().ok_or(Malformed)?;
        self.0 = rest;
        Ok(*first)
    }

    pub(crate) fn u64(&mut self) -> Result<u64, Malformed> {
        let (word, rest) = self.0.split_first_chunk::<8>().ok_or(Malformed)?;
        self.0 = rest;
        Ok(u64::from_le_bytes(*word))
    }

    pub(crate) fn i64(&mut self) -> Result<i64, Malformed> {
        self.u64().map(|v| v as i64)
    }

    pub(crate) fn num(&mut self) -> Result<u64, Malformed> {
        let mut value = 0u64;
        for shift in (0..64).step_by(7) {
            let byte = self.u8()?;
            let bits = u64::from(byte & 0x7f);
            if shift == 63 && bits > 1 {
                return Err(Malformed);
            }
            value |= bits << shift;
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(Malformed)
    }

    pub(crate) fn exact(&mut self, len: usize) -> Result<&'a [u8], Malformed> {
        let (head, rest) = self.0.split_at_checked(len).ok_or(Malformed)?;
        self.0 = rest;
        Ok(head)
    }

    pub(crate) fn bytes(&mut self) -> Result<&'a [u8], Malformed> {
        let len = usize::try_from(self.num()?).map_err(|_| Malformed)?;
        self.exact(len)
    }

    pub(crate) fn string(&mut self) -> Result<String, Malformed> {
        String::from_utf8(self.bytes()?.to_vec()).map_err(|_| Malformed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn rows_are_read_back(n in any::<u64>(), i in any::<i64>(), b in prop::collection::vec(any::<u8>(), 0..300)) {
            let mut row = Vec::new();
            row.put_num(n);
            row.put_bytes(&b);
            row.put_i64(i);
            let mut take = Take(&row);
            prop_assert_eq!((take.num(), take.bytes(), take.i64()), (Ok(n), Ok(&b[..]), Ok(i)));
            prop_assert!(take.is_done());
        }

        #[test]
        fn any_bytes_are_refused_or_read(b in prop::collection::vec(any::<u8>(), 0..40)) {
            let mut take = Take(&b);
            while let (Ok(_), false) = (take.num().and_then(|_| take.bytes()), take.is_done()) {}
        }
    }
}
