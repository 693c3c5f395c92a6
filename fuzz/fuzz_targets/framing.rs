//! The same bytes fed whole, byte by byte and in random pieces are the same frames and the same first error, in both
//! directions, whether a reader keeps whole messages or forwards bodies as they come.
//!
//! Input: one byte that chooses direction and limit, eight that choose the pieces, then the stream.
#![no_main]

use libfuzzer_sys::fuzz_target;
use protocol::first_unit;
use wire::frame::{Direction, FrameError, HEADER_LEN, Header, MESSAGE_LIMIT, Peek, peek};

fuzz_target!(|input: &[u8]| {
    let Some((&[choice, ref seed @ ..], stream)) = input.split_first_chunk::<9>() else { return };
    let direction = if choice & 1 == 0 { Direction::Frontend } else { Direction::Backend };
    let limit = [16, 64, 1000, MESSAGE_LIMIT][usize::from(choice >> 1) % 4];
    let pieces =
        Pieces { state: u64::from_le_bytes(*seed), mask: [0x3, 0xf, 0xff][usize::from(choice >> 3) % 3] };

    let whole = collect(std::iter::once(stream), direction, limit);
    assert_eq!(whole, collect(stream.chunks(1), direction, limit), "byte by byte");
    assert_eq!(whole, collect(pieces.of(stream), direction, limit), "in pieces");
    assert_eq!(whole, forward(std::iter::once(stream), direction, limit), "whole, forwarded");
    assert_eq!(whole, forward(pieces.of(stream), direction, limit), "in pieces, forwarded");
    check_lengths(stream, &whole);
    if direction == Direction::Frontend {
        check_units(stream, &whole, limit, pieces);
    }
});

/// What a reader makes of a stream.
#[derive(Debug, Default, PartialEq, Eq)]
struct Frames {
    /// Whole messages: their heads and bodies.
    messages: Vec<(Header, Vec<u8>)>,
    /// What there is of the last one, if its head is there.
    rest: Option<(Header, Vec<u8>)>,
    error: Option<FrameError>,
}

/// Reads as one who needs whole messages.
fn collect<'a>(chunks: impl Iterator<Item = &'a [u8]>, direction: Direction, limit: u32) -> Frames {
    let mut frames = Frames::default();
    let mut buffer = Vec::new();
    for chunk in chunks {
        buffer.extend_from_slice(chunk);
        let mut at = 0;
        frames.rest = loop {
            match peek(&buffer[at..], direction, limit) {
                Ok(Peek::Whole { header, body }) => {
                    assert_eq!(body.len(), header.body_len as usize);
                    frames.messages.push((header, body.to_vec()));
                    at += header.total_len();
                }
                Ok(Peek::Partial { header, body }) => break Some((header, body.to_vec())),
                Ok(Peek::Nothing) => break None,
                Err(error) => {
                    frames.error = Some(error);
                    frames.rest = None;
                    return frames;
                }
            }
        };
        buffer.drain(..at);
    }
    frames
}

/// Reads as one who looks at heads alone and passes bodies on as they come.
fn forward<'a>(chunks: impl Iterator<Item = &'a [u8]>, direction: Direction, limit: u32) -> Frames {
    let mut frames = Frames::default();
    let mut head = Vec::new();
    for mut chunk in chunks {
        while !chunk.is_empty() || frames.rest.is_some() {
            if let Some((header, mut body)) = frames.rest.take() {
                let missing = header.body_len as usize - body.len();
                let (more, after) = chunk.split_at(missing.min(chunk.len()));
                body.extend_from_slice(more);
                chunk = after;
                if body.len() < header.body_len as usize {
                    frames.rest = Some((header, body));
                    break;
                }
                frames.messages.push((header, body));
                continue;
            }
            let (more, after) = chunk.split_at((HEADER_LEN - head.len()).min(chunk.len()));
            head.extend_from_slice(more);
            chunk = after;
            let Ok(whole) = <[u8; HEADER_LEN]>::try_from(head.as_slice()) else { break };
            head.clear();
            match Header::parse(whole, direction, limit) {
                Ok(header) => frames.rest = Some((header, Vec::new())),
                Err(error) => {
                    frames.error = Some(error);
                    return frames;
                }
            }
        }
    }
    frames
}

/// No byte is lost, none is read twice, and none is believed that is not there.
fn check_lengths(stream: &[u8], frames: &Frames) {
    let messages: usize = frames.messages.iter().map(|(header, _)| header.total_len()).sum();
    let rest = frames.rest.as_ref().map_or(0, |(_, body)| HEADER_LEN + body.len());
    let left = stream.len() - messages - rest;
    assert!(frames.error.is_some() || left < HEADER_LEN, "{left} bytes were not read");
}

/// A unit ends at the same byte however much of the stream is there, and at the end of one of its messages.
fn check_units(stream: &[u8], frames: &Frames, limit: u32, pieces: Pieces) {
    let found = first_unit(stream, limit);
    let mut seen = 0;
    let mut cut = false;
    for piece in pieces.of(stream) {
        seen += piece.len();
        let early = first_unit(&stream[..seen], limit);
        assert!(
            early == found || (!cut && early == Ok(None)),
            "{early:?} after {seen} bytes, then {found:?}"
        );
        cut |= early == found && found != Ok(None);
    }
    match found {
        Ok(Some(end)) => {
            let ends = frames.messages.iter().scan(0, |at, (header, _)| {
                *at += header.total_len();
                Some((*at, header.tag))
            });
            let first = ends.into_iter().find(|(_, tag)| protocol::unit_end(*tag).is_some());
            assert_eq!(first.map(|(at, _)| at), Some(end));
        }
        Ok(None) => assert_eq!(frames.error, None),
        Err(error) => assert_eq!(frames.error, Some(error)),
    }
}

/// Cuts a stream into pieces of 1 to `mask + 1` bytes (splitmix64 over `state`).
#[derive(Clone, Copy)]
struct Pieces {
    state: u64,
    mask: u64,
}

impl Pieces {
    fn of(mut self, mut stream: &[u8]) -> impl Iterator<Item = &[u8]> {
        std::iter::from_fn(move || {
            self.state = self.state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mixed = (self.state ^ (self.state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            let length = usize::try_from((mixed >> 31) & self.mask).unwrap_or(0) + 1;
            let (piece, rest) = stream.split_at(length.min(stream.len()));
            stream = rest;
            (!piece.is_empty()).then_some(piece)
        })
    }
}
