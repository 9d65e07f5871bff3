//! A buffer that grows at both ends.

use super::Writer;

/// DER whose frame is put around it where it lies: a list of a million entries is written once and
/// never moved for the lengths in front of it, which are known last.
#[derive(Debug)]
pub(crate) struct Framed {
    buffer: Vec<u8>,
    start: usize,
}

impl Framed {
    /// An empty one, with so many bytes of room in front.
    pub(crate) fn with_room(room: usize) -> Self {
        Self {
            buffer: vec![0; room],
            start: room,
        }
    }

    pub(crate) fn as_slice(&self) -> &[u8] {
        self.buffer.get(self.start..).unwrap_or_default()
    }

    pub(crate) fn len(&self) -> usize {
        self.buffer.len().saturating_sub(self.start)
    }

    /// Appends what `write` writes.
    pub(crate) fn append<T>(&mut self, write: impl FnOnce(&mut Writer) -> T) -> T {
        let mut writer = Writer::over(std::mem::take(&mut self.buffer));
        let result = write(&mut writer);
        self.buffer = writer.into_vec();
        result
    }

    /// Puts bytes in front; all of the rest is moved only where there is no room left.
    pub(crate) fn prepend(&mut self, bytes: &[u8]) {
        let room = self
            .start
            .checked_sub(bytes.len())
            .and_then(|at| Some((at, self.buffer.get_mut(at..self.start)?)));
        if let Some((at, room)) = room {
            room.copy_from_slice(bytes);
            self.start = at;
        } else {
            self.buffer.splice(..self.start, bytes.iter().copied());
            self.start = 0;
        }
    }

    /// The bytes, without being copied.
    pub(crate) fn into_bytes(self) -> bytes::Bytes {
        bytes::Bytes::from(self.buffer).slice(self.start..)
    }
}

#[cfg(test)]
mod tests {
    use super::Framed;

    #[test]
    fn what_has_no_room_in_front_is_put_there_all_the_same() {
        for room in 0..8 {
            let mut framed = Framed::with_room(room);
            framed.append(|out| {
                out.raw(b"mno");
            });
            framed.prepend(b"jkl");
            framed.prepend(b"abcdefghi");
            framed.append(|out| {
                out.raw(b"p");
            });
            assert_eq!(framed.as_slice(), b"abcdefghijklmnop", "{room}");
            assert_eq!(framed.len(), 16);
            assert_eq!(framed.into_bytes(), b"abcdefghijklmnop".as_slice());
        }
    }
}
