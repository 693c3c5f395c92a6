use std::{fs::File, io::Read};

use anyhow::{Context, Result};

/// A password of 24 hexadecimal digits (96 bits): nothing to quote in SQL, URLs or shell assignments.
///
/// # Errors
/// When the system's random device cannot be read.
pub fn random_password() -> Result<String> {
    let mut bytes = [0; 12];
    File::open("/dev/urandom")
        .and_then(|mut file| file.read_exact(&mut bytes))
        .context("could not read /dev/urandom")?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

/// A number for picking names and ports that others are unlikely to pick.
pub(crate) fn random_number() -> Result<u32> {
    let password = random_password()?;
    u32::from_str_radix(&password[..8], 16).context("eight hexadecimal digits")
}
