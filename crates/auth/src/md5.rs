//! MD5 authentication, for servers that still ask for it (manual, "Password Authentication").

use md5::{Digest, Md5};
use zeroize::Zeroizing;

use crate::{Secret, Unable, secret::Kind};

/// Bytes of `md5` and 32 hexadecimal digits.
pub(crate) const MD5_LEN: usize = 35;

/// The body of the PasswordMessage that answers AuthenticationMD5Password: `md5(md5(password, user), salt)`, with its
/// terminating NUL.
///
/// # Errors
/// [`Unable::ScramOnly`]: a SCRAM verifier cannot answer it.
pub fn md5_response(secret: &Secret, user: &str, salt: [u8; 4]) -> Result<Zeroizing<Vec<u8>>, Unable> {
    let inner = match secret.kind() {
        Kind::Clear(password) => Zeroizing::new(hex_md5(&[password.as_bytes(), user.as_bytes()])),
        Kind::Md5(hex) => hex.clone(),
        Kind::Verifier(_) => return Err(Unable::ScramOnly),
    };
    let outer = Zeroizing::new(hex_md5(&[inner.as_bytes(), &salt]));
    let mut body = Zeroizing::new(Vec::with_capacity(MD5_LEN.saturating_add(1)));
    body.extend_from_slice(b"md5");
    body.extend_from_slice(outer.as_bytes());
    body.push(0);
    Ok(body)
}

fn hex_md5(parts: &[&[u8]]) -> String {
    let mut hash = Md5::new();
    parts.iter().for_each(|part| hash.update(part));
    format!("{:032x}", u128::from_be_bytes(hash.finalize().into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_and_the_password_give_the_same_answer() {
        // md5('secretapp') as PostgreSQL stores it for the role app with the password secret.
        let hash = Secret::parse("md56a422f785c9e20873908ce25d1736ae2").unwrap();
        let clear = Secret::parse("secret").unwrap();
        let answer = md5_response(&clear, "app", *b"salt").unwrap();
        assert_eq!(answer, md5_response(&hash, "app", *b"salt").unwrap());
        assert_eq!((answer.len(), answer.last()), (36, Some(&0)));
    }
}
