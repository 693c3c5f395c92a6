//! First packets: read as PostgreSQL reads them, written back as they were, and never a panic.
#![no_main]

use libfuzzer_sys::fuzz_target;
use wire::message::startup::{self, STARTUP_LIMIT, Startup, StartupError};

fuzz_target!(|body: &[u8]| {
    if let Some(&field) = body.first_chunk::<4>() {
        let length = u32::from_be_bytes(field);
        let expected = (8..=STARTUP_LIMIT).contains(&length).then(|| length as usize - 4);
        assert_eq!(startup::body_len(field).ok(), expected);
    }
    let mut written = Vec::new();
    match Startup::read(body) {
        Ok(Startup::SslRequest) => startup::ssl_request(&mut written),
        Ok(Startup::GssEncRequest) => {
            assert_eq!(body, [0x04, 0xd2, 0x16, 0x30]);
            return;
        }
        Ok(Startup::Cancel { pid, secret }) => startup::cancel_request(pid, secret, &mut written),
        Ok(Startup::Session { version, parameters }) => {
            assert!(reference(parameters));
            let pairs: Vec<_> = startup::parameters(parameters)
                .map(|pair| pair.expect("a packet whose parameters do not read is refused"))
                .collect();
            assert!(
                pairs
                    .iter()
                    .all(|(name, value)| { !name.is_empty() && !name.contains(&0) && !value.contains(&0) })
            );
            startup::session(version, &pairs, &mut written);
        }
        Err(StartupError::Layout) => {
            assert!(!reference(&body[4..]));
            assert!(startup::parameters(&body[4..]).any(|pair| pair.is_err()));
            return;
        }
        Err(StartupError::Version(version)) => {
            assert_ne!(version >> 16, 3);
            return;
        }
        Err(StartupError::Length) => return,
    }
    assert_eq!(&written[4..], body, "written back");
    if body.len() + 4 <= STARTUP_LIMIT as usize {
        let field = *written.first_chunk().expect("a length field comes first");
        assert_eq!(startup::body_len(field), Ok(body.len()));
    }
});

/// PostgreSQL's walk over names and values (`ProcessStartupPacket`), which must end at a NUL that is the last byte.
/// PostgreSQL pads the packet with one more NUL and so lets a single other byte pass in its place; here it does not.
fn reference(parameters: &[u8]) -> bool {
    let length = |at: usize| parameters[at..].iter().position(|b| *b == 0);
    let mut at = 0;
    while at < parameters.len() && parameters[at] != 0 {
        let Some(name) = length(at) else { return false };
        let value_at = at + name + 1;
        if value_at >= parameters.len() {
            return false;
        }
        let Some(value) = length(value_at) else { return false };
        at = value_at + value + 1;
    }
    at + 1 == parameters.len()
}
