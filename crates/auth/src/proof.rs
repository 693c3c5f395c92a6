/// Proof that a client has shown that it knows its role's password. Only this crate makes one, so a session that
/// asks for it cannot be opened without the check.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Authenticated {
    user: Box<str>,
}

impl Authenticated {
    pub(crate) fn new(user: Box<str>) -> Self {
        Self { user }
    }

    /// The role that logged in.
    #[must_use]
    pub fn user(&self) -> &str {
        &self.user
    }
}
