use rustls::crypto::aws_lc_rs;

/// Fills `out` with bytes that nobody can guess: nonces, cancel keys, the key of mock logins.
///
/// # Panics
/// If the operating system has no randomness to give: nothing secret could be made any more.
pub fn fill_random(out: &mut [u8]) {
    aws_lc_rs::default_provider().secure_random.fill(out).expect("the operating system gives random bytes");
}
