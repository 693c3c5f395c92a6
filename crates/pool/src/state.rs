use std::{
    cell::{Cell, RefCell},
    rc::Rc,
};

use crate::{
    ParameterSet,
    consequences::{breaks_lexing, is_serializable},
    planning::bears_on_plans,
    shared::Shared,
};

/// How to bring a setting about on another server connection.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Replay {
    /// The value in the form of a startup parameter, for `set_config`.
    Value(Box<[u8]>),
    /// The client's own statement, such as `SET search_path TO a, b`.
    Statement(Box<[u8]>),
}

/// What a session has set, sorted by name: each kept once per worker, so that "nothing to do" is a comparison of
/// pointers.
#[derive(Debug)]
pub struct SessionState {
    settings: Vec<(Box<[u8]>, Replay)>,
    /// What a server reports once it is in this state; known after the first time it was brought about.
    reported: RefCell<Option<Rc<ParameterSet>>>,
    proven: Cell<bool>,
    breaks_lexing: bool,
    is_serializable: bool,
    serial: u64,
    /// Those of the settings that bear on plans, if not all of them do.
    planning: Option<Rc<SessionState>>,
}

impl SessionState {
    /// Names and how to bring them about.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], &Replay)> {
        self.settings.iter().map(|(name, replay)| (&**name, replay))
    }

    fn find(&self, name: &[u8]) -> Option<&Replay> {
        let at = self.settings.binary_search_by(|(n, _)| (**n).cmp(name)).ok()?;
        self.settings.get(at).map(|(_, replay)| replay)
    }

    /// Whether texts of a session in this state cannot be read by the rules that classification assumes: in these
    /// encodings a quote or backslash may be half a character, and without standard_conforming_strings a backslash
    /// may hide a quote. Such a session keeps its server connection.
    #[must_use]
    pub fn breaks_lexing(&self) -> bool {
        self.breaks_lexing
    }

    /// Whether all that the session asks for has to go to the primary: its texts cannot be read, or its transactions
    /// are SERIALIZABLE, which a hot standby refuses (manual, "Serializable Isolation Level").
    #[must_use]
    pub fn needs_primary(&self) -> bool {
        self.breaks_lexing || self.is_serializable
    }

    /// The part of it that prepared statements depend on: the state of those settings alone.
    #[must_use]
    pub fn planning(self: &Rc<Self>) -> &Rc<Self> {
        self.planning.as_ref().unwrap_or(self)
    }

    /// Its number among the states of its pool; never used twice.
    #[must_use]
    pub fn serial(&self) -> u64 {
        self.serial
    }

    /// Whether nothing is set.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.settings.is_empty()
    }

    /// What a server of this pool reported in this state, if one was in it yet.
    #[must_use]
    pub fn reported(&self) -> Option<Rc<ParameterSet>> {
        self.reported.borrow().clone()
    }

    /// Notes that a server took on this state and then reported `parameters`.
    pub fn prove(&self, parameters: &Rc<ParameterSet>) {
        self.proven.set(true);
        *self.reported.borrow_mut() = Some(Rc::clone(parameters));
    }

    /// Whether a server took on this state before: then the statements that bring it about may travel together with
    /// the client's first request instead of ahead of it. Roles are never proven for good, since a privilege may
    /// have been revoked.
    #[must_use]
    pub fn is_proven(&self) -> bool {
        self.proven.get() && self.find(ROLE).is_none() && self.find(SESSION_AUTHORIZATION).is_none()
    }
}

const ROLE: &[u8] = b"role";
const SESSION_AUTHORIZATION: &[u8] = b"session_authorization";
pub(crate) const CLIENT_ENCODING: &[u8] = b"client_encoding";

/// Holds a format and an order, each of which is set alone without a word about the other (manual, "Date/Time
/// Output").
pub const DATE_STYLE: &[u8] = b"datestyle";

/// Whether a change of `name` ends what was set of `other`: SET and RESET SESSION AUTHORIZATION undo SET ROLE.
fn ends(name: &[u8], other: &[u8]) -> bool {
    name == SESSION_AUTHORIZATION && other == ROLE
}

/// All the states in use in one pool's database and user on one worker.
#[derive(Debug, Default)]
pub struct SessionStates {
    known: Shared<SessionState>,
    serials: Cell<u64>,
}

impl SessionStates {
    /// The state of these settings; later ones of the same name win.
    pub fn intern(&self, settings: impl IntoIterator<Item = (Box<[u8]>, Replay)>) -> Rc<SessionState> {
        let mut sorted: Vec<(Box<[u8]>, Replay)> = Vec::new();
        for (name, replay) in settings {
            match sorted.binary_search_by(|(n, _)| n.cmp(&name)) {
                Ok(at) => sorted[at].1 = replay,
                Err(at) => sorted.insert(at, (name, replay)),
            }
        }
        self.intern_sorted(sorted)
    }

    fn intern_sorted(&self, sorted: Vec<(Box<[u8]>, Replay)>) -> Rc<SessionState> {
        let partly = sorted.iter().any(|(name, _)| !bears_on_plans(name));
        let planning = partly
            .then(|| sorted.iter().filter(|(name, _)| bears_on_plans(name)).cloned().collect())
            .map(|bearing| self.intern_sorted(bearing));
        self.known.intern(
            sorted,
            |kept, settings| kept.settings == *settings,
            |settings| SessionState {
                is_serializable: settings.iter().any(|(name, replay)| is_serializable(name, replay)),
                breaks_lexing: settings.iter().any(|(name, replay)| breaks_lexing(name, replay)),
                settings,
                reported: RefCell::default(),
                proven: Cell::default(),
                serial: self.next_serial(),
                planning,
            },
        )
    }

    /// A number that no state has and nothing else was given.
    pub fn next_serial(&self) -> u64 {
        let serial = self.serials.get();
        self.serials.set(serial + 1);
        serial
    }

    /// The state in which nothing is set.
    pub fn empty(&self) -> Rc<SessionState> {
        self.intern([])
    }

    /// `base` with `name` set.
    pub fn with(&self, base: &SessionState, name: &[u8], replay: Replay) -> Rc<SessionState> {
        let kept = base.settings.iter().filter(|(n, _)| !ends(name, n)).cloned();
        self.intern(kept.chain([(name.into(), replay)]))
    }

    /// `base` with `name` as in `defaults`, or not set if it is not set there.
    pub fn without(&self, base: &SessionState, name: &[u8], defaults: &SessionState) -> Rc<SessionState> {
        let kept = base.settings.iter().filter(|(n, _)| **n != *name && !ends(name, n)).cloned();
        let default = defaults.find(name).map(|replay| (name.into(), replay.clone()));
        self.intern(kept.chain(default))
    }

    /// `base` after RESET ALL: as `defaults`, but roles stay (manual, "RESET").
    pub fn reset_all(&self, base: &SessionState, defaults: &SessionState) -> Rc<SessionState> {
        let roles = [ROLE, SESSION_AUTHORIZATION]
            .into_iter()
            .filter_map(|name| base.find(name).map(|replay| (name.into(), replay.clone())));
        self.intern(defaults.settings.iter().cloned().chain(roles))
    }
}

/// The texts of the queries that lead a server connection from one state to another, in order; empty if none is
/// needed. A change of `client_encoding` goes ahead on its own when other texts depend on it.
#[must_use]
pub fn transition(from: &SessionState, to: &SessionState) -> Vec<Vec<u8>> {
    let differs = |name: &[u8]| from.find(name) != to.find(name);
    let authorization_differs = differs(SESSION_AUTHORIZATION);
    let role_differs = differs(ROLE) || authorization_differs;
    let mut text = Vec::new();
    if role_differs && from.find(ROLE).is_some() {
        text.extend_from_slice(b"RESET ROLE;");
    }
    if authorization_differs && from.find(SESSION_AUTHORIZATION).is_some() {
        text.extend_from_slice(b"RESET SESSION AUTHORIZATION;");
    }
    let plain = |name: &[u8]| name != ROLE && name != SESSION_AUTHORIZATION && name != CLIENT_ENCODING;
    for (name, _) in from.iter().filter(|&(name, _)| plain(name) && to.find(name).is_none()) {
        push_reset(&mut text, name);
    }
    for (name, replay) in to.iter().filter(|&(name, _)| plain(name) && differs(name)) {
        if name == DATE_STYLE && from.find(name).is_some() {
            push_reset(&mut text, name);
        }
        push_set(&mut text, name, replay);
    }
    for (name, changed) in [(SESSION_AUTHORIZATION, authorization_differs), (ROLE, role_differs)] {
        if let (true, Some(replay)) = (changed, to.find(name)) {
            push_set(&mut text, name, replay);
        }
    }
    let mut encoding = Vec::new();
    if differs(CLIENT_ENCODING) {
        match to.find(CLIENT_ENCODING) {
            Some(replay) => push_set(&mut encoding, CLIENT_ENCODING, replay),
            None => push_reset(&mut encoding, CLIENT_ENCODING),
        }
    }
    if text.is_ascii() {
        encoding.append(&mut text);
    }
    [encoding, text].into_iter().filter(|text| !text.is_empty()).collect()
}

fn push_reset(text: &mut Vec<u8>, name: &[u8]) {
    text.extend_from_slice(b"RESET ");
    for (n, part) in name.split(|&b| b == b'.').enumerate() {
        text.extend_from_slice(if n == 0 { b"\"" } else { b".\"" });
        text.extend(part.iter().filter(|&&b| b != b'"'));
        text.push(b'"');
    }
    text.push(b';');
}

fn push_set(text: &mut Vec<u8>, name: &[u8], replay: &Replay) {
    match replay {
        Replay::Statement(statement) => text.extend_from_slice(statement),
        Replay::Value(value) => {
            text.extend_from_slice(b"SELECT pg_catalog.set_config(");
            push_literal(text, name);
            text.push(b',');
            push_literal(text, value);
            text.extend_from_slice(b",false)");
        }
    }
    text.push(b';');
}

/// An escape string constant: reads the same whatever standard_conforming_strings is.
fn push_literal(text: &mut Vec<u8>, value: &[u8]) {
    text.extend_from_slice(b"E'");
    for &byte in value {
        if byte == b'\'' || byte == b'\\' {
            text.push(byte);
        }
        text.push(byte);
    }
    text.push(b'\'');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(states: &SessionStates, settings: &[(&str, &str)]) -> Rc<SessionState> {
        states.intern(settings.iter().map(|(name, text)| {
            (name.as_bytes().into(), Replay::Statement(format!("SET {name} TO {text}").into_bytes().into()))
        }))
    }

    #[track_caller]
    fn check(from: &[(&str, &str)], to: &[(&str, &str)], expected: &[&str]) {
        let states = SessionStates::default();
        let texts = transition(&state(&states, from), &state(&states, to));
        let texts: Vec<_> = texts.iter().map(|t| String::from_utf8_lossy(t)).collect();
        assert_eq!(texts, expected);
    }

    #[test]
    fn the_same_settings_are_the_same_state_and_need_nothing() {
        let states = SessionStates::default();
        let a = state(&states, &[("a", "1"), ("b", "2")]);
        assert!(Rc::ptr_eq(&a, &state(&states, &[("b", "2"), ("a", "1")])));
        check(&[("a", "1")], &[("a", "1")], &[]);
    }

    #[test]
    fn prepared_statements_depend_on_what_bears_on_plans_alone() {
        let states = SessionStates::default();
        let named = state(&states, &[("application_name", "a"), ("timezone", "x")]);
        let zone = state(&states, &[("timezone", "x")]);
        assert!(Rc::ptr_eq(named.planning(), &zone) && Rc::ptr_eq(zone.planning(), &zone));
        assert!(Rc::ptr_eq(state(&states, &[("application_name", "a")]).planning(), &states.empty()));
        assert_ne!(zone.serial(), states.empty().serial());
    }

    #[test]
    fn only_the_difference_is_replayed() {
        check(&[("a", "1"), ("b", "2")], &[("b", "3"), ("c", "4")], &["RESET \"a\";SET b TO 3;SET c TO 4;"]);
        check(&[("app.user", "1")], &[], &["RESET \"app\".\"user\";"]);
    }

    #[test]
    fn a_role_is_left_before_and_taken_after_everything_else() {
        check(&[("role", "x")], &[("a", "1")], &["RESET ROLE;SET a TO 1;"]);
        check(&[], &[("role", "x"), ("work_mem", "1")], &["SET work_mem TO 1;SET role TO x;"]);
        check(
            &[("role", "x"), ("session_authorization", "u")],
            &[("role", "x")],
            &["RESET ROLE;RESET SESSION AUTHORIZATION;SET role TO x;"],
        );
    }

    #[test]
    fn a_change_of_session_authorization_ends_a_role() {
        let states = SessionStates::default();
        let both = state(&states, &[("role", "x"), ("session_authorization", "u"), ("a", "1")]);
        let set = states.with(&both, SESSION_AUTHORIZATION, Replay::Value(b"v".as_slice().into()));
        let reset = states.without(&both, SESSION_AUTHORIZATION, &state(&states, &[("role", "y")]));
        let names = |state: &SessionState| -> Vec<_> {
            state.iter().map(|(n, _)| String::from_utf8_lossy(n).into_owned()).collect()
        };
        assert_eq!(names(&set), ["a", "session_authorization"]);
        assert_eq!(names(&reset), ["a"]);
    }

    #[test]
    fn nothing_of_an_earlier_date_style_is_left() {
        check(
            &[("datestyle", "dmy")],
            &[("datestyle", "iso")],
            &["RESET \"datestyle\";SET datestyle TO iso;"],
        );
        check(&[], &[("datestyle", "iso")], &["SET datestyle TO iso;"]);
    }

    #[test]
    fn an_encoding_goes_ahead_of_texts_that_depend_on_it() {
        check(&[], &[("client_encoding", "x"), ("a", "1")], &["SET client_encoding TO x;SET a TO 1;"]);
        check(
            &[],
            &[("client_encoding", "x"), ("a", "'ä'")],
            &["SET client_encoding TO x;", "SET a TO 'ä';"],
        );
    }

    #[test]
    fn a_startup_value_is_quoted_whatever_it_holds() {
        let states = SessionStates::default();
        let to = states.intern([(b"a".as_slice().into(), Replay::Value(b"it's \\ ; x".as_slice().into()))]);
        let texts = transition(&states.empty(), &to);
        assert_eq!(texts, [b"SELECT pg_catalog.set_config(E'a',E'it''s \\\\ ; x',false);".to_vec()]);
    }

    #[test]
    fn reset_goes_back_to_what_the_client_asked_for_at_startup() {
        let states = SessionStates::default();
        let startup = state(&states, &[("a", "1")]);
        let changed = states.with(&startup, b"a", Replay::Statement(b"SET a TO 2".as_slice().into()));
        assert!(Rc::ptr_eq(&startup, &states.without(&changed, b"a", &startup)));
        let with_role = states.with(&changed, b"role", Replay::Statement(b"SET ROLE x".as_slice().into()));
        let reset = states.reset_all(&with_role, &startup);
        assert_eq!(reset.iter().map(|(n, _)| n).collect::<Vec<_>>(), [&b"a"[..], b"role"]);
    }

    #[test]
    fn a_state_with_a_role_is_never_taken_on_trust() {
        let states = SessionStates::default();
        let parameters = crate::ParameterSets::default().intern([]);
        for (name, proven) in [("a", true), ("role", false)] {
            let state = state(&states, &[(name, "1")]);
            assert!(!state.is_proven());
            state.prove(&parameters);
            assert_eq!(state.is_proven(), proven);
        }
    }
}
