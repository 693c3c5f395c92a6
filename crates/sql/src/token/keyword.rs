//! The key words that decide something, found by comparing one number.

/// Up to 16 bytes of a word as a number, letters in lower case. 0 for a longer word.
///
/// Setting bit 5 maps upper to lower case and no two other bytes of an ASCII word onto each other.
const fn pack(mut word: &[u8]) -> u128 {
    let mut packed = 0;
    while let [first, rest @ ..] = word {
        packed = (packed << 8) | (*first | 0x20) as u128;
        word = rest;
    }
    packed
}

/// [`pack`] of the first `len` bytes of `from`.
#[inline]
fn pack_prefix(from: &[u8], len: usize) -> u128 {
    const FOLD: u128 = u128::from_be_bytes([0x20; 16]);
    let Some(unused) = 16_usize.checked_sub(len) else { return 0 };
    let bytes = if let Some(bytes) = from.first_chunk::<16>() {
        *bytes
    } else {
        let mut bytes = [0; 16];
        for (to, from) in bytes.iter_mut().zip(from) {
            *to = *from;
        }
        bytes
    };
    let shift = u32::try_from(unused.saturating_mul(8)).unwrap_or(u32::MAX);
    (u128::from_be_bytes(bytes) | FOLD).checked_shr(shift).unwrap_or(0)
}

/// By first letter, a bit for every length that a key word with it has: most names end here.
#[expect(clippy::indexing_slicing, clippy::arithmetic_side_effects, reason = "the compiler runs it")]
const fn lengths(words: &[&str]) -> [u32; 32] {
    let mut lengths = [0; 32];
    let mut i = 0;
    while i < words.len() {
        let word = words[i].as_bytes();
        lengths[(word[0] & 0x1f) as usize] |= 1 << word.len();
        i += 1;
    }
    lengths
}

macro_rules! keywords {
    ($($name:ident $word:literal)*) => {
        /// A key word that decides something here.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(crate) enum Keyword {
            /// Any other token.
            Other,
            $(#[doc = $word] $name,)*
        }

        #[expect(non_upper_case_globals, reason = "named after the variants, for the macro's sake")]
        mod packed {
            $(pub(super) const $name: u128 = super::pack($word.as_bytes());)*
        }

        impl Keyword {
            /// Which one the first `len` bytes of `from` are.
            #[inline]
            pub(super) fn of(from: &[u8], len: usize) -> Self {
                const LENGTHS: [u32; 32] = lengths(&[$($word),*]);
                let first = usize::from(from.first().unwrap_or(&0) & 0x1f);
                let lengths = LENGTHS.get(first).unwrap_or(&0);
                let shift = u32::try_from(len).unwrap_or(u32::MAX);
                if lengths.checked_shr(shift).unwrap_or(0) & 1 == 0 {
                    return Self::Other;
                }
                match pack_prefix(from, len) {
                    $(packed::$name => Self::$name,)*
                    _ => Self::Other,
                }
            }
        }
    };
}

keywords! {
    Abort "abort" All "all" Analyse "analyse" Analyze "analyze" And "and" As "as" Atomic "atomic"
    Authorization "authorization" Begin "begin" Binary "binary" Case "case" Chain "chain"
    Characteristics "characteristics" Commit "commit" Committed "committed" Constraints "constraints" Copy "copy"
    Create "create" Deallocate "deallocate" Declare "declare" Default "default" Deferrable "deferrable"
    Delete "delete" Discard "discard" Distinct "distinct" Do "do" End "end" Execute "execute" Explain "explain"
    False "false" For "for" Global "global" Grouping "grouping" Hold "hold" Insert "insert" Into "into" Isolation "isolation" Key "key"
    Level "level" Listen "listen" Load "load" Local "local" Materialized "materialized" Merge "merge" Names "names"
    No "no" None "none" Not "not" Off "off" On "on" Only "only" Option "option" Or "or" Ordinality "ordinality"
    Prepare "prepare" Prepared "prepared" Read "read" Recursive "recursive" Release "release"
    Repeatable "repeatable" Replace "replace" Reset "reset" Role "role" Rollback "rollback" Savepoint "savepoint"
    Schema "schema" Select "select" Serializable "serializable" Session "session" Set "set" Share "share"
    Show "show" Start "start" Stdin "stdin" Stdout "stdout" Table "table" Temp "temp" Temporary "temporary"
    Time "time" To "to" Transaction "transaction" True "true" Uncommitted "uncommitted" Unlisten "unlisten"
    Update "update" Values "values" Verbose "verbose" With "with" Work "work" Write "write" Xml "xml" Zone "zone"
}

macro_rules! structural {
    ($($name:ident $word:literal)*) => {
        #[expect(non_upper_case_globals, reason = "named after the words, for the macro's sake")]
        mod structure {
            $(pub(super) const $name: u128 = super::pack($word.as_bytes());)*
        }

        /// Whether the first `len` bytes of `from` are grammar when a `(` follows them: reserved, or a type name that takes modifiers, so that
        /// no function can be called by it without quotes. Expression syntax such as `coalesce`, and words that may
        /// name a function although the grammar has them (`join`, `rollup`), are not among these: they are in the list
        /// of harmless functions.
        pub(super) fn opens_parenthesis(from: &[u8], len: usize) -> bool {
            matches!(pack_prefix(from, len), $(structure::$name)|*)
        }
    };
}

structural! {
    All "all" And "and" Any "any" Array "array" As "as" Between "between" Bit "bit" Case "case" Char "char"
    Character "character" Check "check" Dec "dec" Decimal "decimal" Distinct "distinct" Else "else"
    End "end" Except "except" Exists "exists" Float "float" For "for" From "from" Group "group" Grouping "grouping"
    Having "having" In "in" Intersect "intersect" Interval "interval" Into "into"
    Lateral "lateral" Limit "limit" Nchar "nchar" Not "not" Numeric "numeric" Offset "offset" On "on"
    Only "only" Or "or" Precision "precision" Returning "returning" Row "row" Select "select"
    Some "some" Symmetric "symmetric" Table "table" Then "then" Time "time" Timestamp "timestamp" To "to"
    Union "union" Using "using" Values "values" Varchar "varchar" When "when" Where "where" Window "window"
    With "with"
}
