//! Where a word ends, eight bytes at a time: a branch for each byte is one that the processor guesses wrong at each end.

/// How many of eight bytes, the first one lowest, a word goes on with: 0 to 8. See [`is_word_byte`](super::is_word_byte).
///
/// Each byte is looked at without its highest bit, so that no sum reaches the byte above. A sum's highest bit then says
/// that the byte is not below a bound, and that of a difference that it is.
#[inline(always)]
pub(super) const fn len(bytes: u64) -> usize {
    let low = bytes & each(0x7f);
    let lower = low | each(0x20);
    let letter = lower.wrapping_add(each(0x80 - b'a')) & !lower.wrapping_add(each(0x7f - b'z'));
    let digit = low.wrapping_add(each(0x80 - b'0')) & !low.wrapping_add(each(0x7f - b'9'));
    // the sum of what is not zero
    let neither =
        (low ^ each(b'_')).wrapping_add(each(0x7f)) & (low ^ each(b'$')).wrapping_add(each(0x7f));
    let ends = !(letter | digit | bytes) & neither & each(0x80);
    (ends.trailing_zeros() >> 3) as usize
}

/// This byte, eight times.
const fn each(byte: u8) -> u64 {
    u64::from_ne_bytes([byte; 8])
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::token::is_word_byte;

    #[test]
    fn every_byte_is_judged_as_if_it_were_alone() {
        for byte in 0..=u8::MAX {
            let found = |other: u8, at: usize| {
                let mut bytes = [other; 8];
                bytes[at] = byte;
                len(u64::from_le_bytes(bytes))
            };
            for at in 0..8 {
                for word in [b'a', b'Z', b'0', b'9', b'_', b'$', 0x80, 0xff] {
                    let expected = if is_word_byte(byte) { 8 } else { at };
                    assert_eq!(found(word, at), expected, "{byte:#x} among {word:#x}");
                }
                for none in [0, b' ', 0x7f] {
                    let expected = usize::from(at == 0 && is_word_byte(byte));
                    assert_eq!(found(none, at), expected, "{byte:#x} among {none:#x}");
                }
            }
        }
    }
}
