//! PROXY headers: whoever reads what is asked for reads neither past the end nor without end, and never panics.
#![no_main]

use libfuzzer_sys::fuzz_target;
use wire::ProxyHeader;

fuzz_target!(|bytes: &[u8]| {
    // At once, as a careless caller would.
    let _ = ProxyHeader::read(bytes);
    let mut len = 0;
    loop {
        match ProxyHeader::read(&bytes[..len]) {
            Ok(ProxyHeader::Longer(more)) => {
                assert!(more > 0);
                len += more;
                assert!(len <= 16 + 8 * 1024);
                if len > bytes.len() {
                    return;
                }
            }
            Ok(ProxyHeader::Whole(source)) => {
                let header = &bytes[..len];
                if let Some(line) = header.strip_suffix(b"\r\n").filter(|line| line.starts_with(b"PROXY ")) {
                    assert!(len <= 107 && !line.contains(&b'\n'));
                    let text = std::str::from_utf8(line).expect("text");
                    assert_eq!(source.is_none(), text.starts_with("PROXY UNKNOWN"), "{text}");
                } else {
                    let length = usize::from(u16::from_be_bytes([header[14], header[15]]));
                    assert_eq!(len, 16 + length);
                }
                return;
            }
            Err(_) => return,
        }
    }
});
