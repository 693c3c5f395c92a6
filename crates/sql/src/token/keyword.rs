//! The key words that decide something, found by comparing one number.

use super::byte::begins_word;

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

/// A word of at most [`SHORT`] bytes as a number, letters in lower case: the first `len` bytes of `word`, which begins in the
/// lowest byte, moved to the top. What lies behind the word falls out, and words of different lengths differ in the zeros.
#[inline]
#[expect(clippy::cast_possible_truncation, reason = "only the lowest bits of a shift count")]
const fn pack_short(word: u64, len: usize) -> u64 {
    const FOLD: u64 = u64::from_le_bytes([0x20; SHORT]);
    (word | FOLD).wrapping_shl(64_usize.wrapping_sub(len.wrapping_mul(8)) as u32)
}

/// How long a word may be whose bytes fit into one number, in bytes.
const SHORT: usize = 8;

/// The bits of a short word's hash.
const HASH_BITS: u32 = 9;

/// Where a short word, packed, stands in the table of its `multiplier`.
#[inline]
const fn hash(packed: u64, multiplier: u64) -> usize {
    (packed.wrapping_mul(multiplier) >> (u64::BITS - HASH_BITS)) as usize
}

/// A multiplier that gives each of `words`, packed, a hash of its own. A long word, whose number is 0, needs none.
#[expect(clippy::indexing_slicing, clippy::arithmetic_side_effects, reason = "the compiler runs it")]
const fn perfect_multiplier(words: &[u64]) -> u64 {
    let mut multiplier = 0x9e37_79b9_7f4a_7c15_u64;
    loop {
        let mut taken = [false; 1 << HASH_BITS];
        let mut i = 0;
        while i < words.len() {
            let at = hash(words[i], multiplier);
            if words[i] != 0 && taken[at] {
                break;
            }
            taken[at] |= words[i] != 0;
            i += 1;
        }
        if i == words.len() {
            return multiplier;
        }
        // the next one of a linear congruential generator, which stays odd
        multiplier = multiplier.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(2);
    }
}

/// The number of a key word in the table: 0 if it is longer than [`SHORT`].
#[expect(clippy::indexing_slicing, clippy::arithmetic_side_effects, reason = "the compiler runs it")]
const fn pack_if_short(word: &[u8]) -> u64 {
    if word.len() > SHORT {
        return 0;
    }
    let mut bytes = [0; SHORT];
    let mut i = 0;
    while i < word.len() {
        bytes[i] = word[i];
        i += 1;
    }
    pack_short(u64::from_le_bytes(bytes), word.len())
}

/// By first byte: 0 where no word begins with it, otherwise bit 0 and a bit for every length that a key word with it has.
#[expect(clippy::indexing_slicing, clippy::arithmetic_side_effects, reason = "the compiler runs it")]
const fn lengths(words: &[&str]) -> [u32; 256] {
    let mut lengths = [0; 256];
    let mut byte = 0_u8;
    loop {
        lengths[byte as usize] = begins_word(byte) as u32;
        match byte.checked_add(1) {
            Some(next) => byte = next,
            None => break,
        }
    }
    let mut i = 0;
    while i < words.len() {
        let word = words[i].as_bytes();
        lengths[word[0] as usize] |= 1 << word.len();
        lengths[word[0].to_ascii_uppercase() as usize] |= 1 << word.len();
        i += 1;
    }
    lengths
}

/// What words there may be that begin with one byte.
#[derive(Debug, Clone, Copy)]
pub(super) struct Lengths(u32);

impl Lengths {
    /// Of words that begin with `first`; `None` if none does.
    #[inline(always)]
    pub(super) fn of(first: u8) -> Option<Self> {
        const LENGTHS: &[u32; 256] = &lengths(WORDS);
        let lengths = LENGTHS.get(usize::from(first)).copied().unwrap_or(0);
        (lengths != 0).then_some(Self(lengths))
    }

    /// Whether a word of `len` bytes, more than none, may be a key word: most words end here.
    #[inline(always)]
    #[expect(clippy::cast_possible_truncation, reason = "it is less than 32")]
    pub(super) fn may_be_keyword(self, len: usize) -> bool {
        len < 32 && self.0.wrapping_shr(len as u32) & 1 != 0
    }
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

        pub(super) const WORDS: &[&str] = &[$($word),*];
        pub(super) const KEYWORDS: &[Keyword] = &[$(Keyword::$name),*];

        #[expect(non_upper_case_globals, reason = "named after the variants, for the macro's sake")]
        mod packed {
            $(pub(super) const $name: u128 = super::pack($word.as_bytes());)*
        }

        impl Keyword {
            /// [`Keyword::of`] a word of more than [`SHORT`] bytes.
            #[inline(never)]
            fn of_long(from: &[u8], len: usize) -> Self {
                match pack_prefix(from, len) {
                    $(packed::$name => Self::$name,)*
                    _ => Self::Other,
                }
            }
        }
    };
}

/// The short key words, packed, by the number of their variant.
const SHORT_WORDS: &[u64; 128] = &short_words();

/// The short key words by their hash; [`Keyword::Other`] where there is none.
const BY_HASH: &[Keyword; 1 << HASH_BITS] = &by_hash();

const MULTIPLIER: u64 = perfect_multiplier(&short_words());

#[expect(clippy::indexing_slicing, clippy::arithmetic_side_effects, reason = "the compiler runs it")]
const fn short_words() -> [u64; 128] {
    let mut words = [0; 128];
    let mut i = 0;
    while i < WORDS.len() {
        words[KEYWORDS[i] as usize] = pack_if_short(WORDS[i].as_bytes());
        i += 1;
    }
    words
}

#[expect(clippy::indexing_slicing, clippy::arithmetic_side_effects, reason = "the compiler runs it")]
const fn by_hash() -> [Keyword; 1 << HASH_BITS] {
    let mut slots = [Keyword::Other; 1 << HASH_BITS];
    let mut i = 0;
    while i < WORDS.len() {
        let packed = pack_if_short(WORDS[i].as_bytes());
        if packed != 0 {
            slots[hash(packed, MULTIPLIER)] = KEYWORDS[i];
        }
        i += 1;
    }
    slots
}

impl Keyword {
    /// Which one the first `len` bytes of `from` are, if [that may be](Lengths::may_be_keyword). `word` is what the first eight of them are
    /// as a number, the first one lowest; what lies behind the word does not matter.
    #[inline(always)]
    pub(super) fn of(word: u64, from: &[u8], len: usize) -> Self {
        if len > SHORT {
            return Self::of_long(from, len);
        }
        let packed = pack_short(word, len);
        let found = BY_HASH.get(hash(packed, MULTIPLIER)).copied().unwrap_or(Self::Other);
        if SHORT_WORDS.get(found as usize) == Some(&packed) { found } else { Self::Other }
    }
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

        const STRUCTURE: &[&str] = &[$($word),*];

        /// Whether the first `len` bytes of `from`, more than [`SHORT`], are one of these words.
        #[inline(never)]
        fn is_long_structure(from: &[u8], len: usize) -> bool {
            matches!(pack_prefix(from, len), $(structure::$name)|*)
        }
    };
}

/// Whether the first `len` bytes of `from` are grammar when a `(` follows them: reserved, or a type name that takes modifiers, so that
/// no function can be called by it without quotes. Expression syntax such as `coalesce`, and words that may
/// name a function although the grammar has them (`join`, `rollup`), are not among these: they are in the list
/// of harmless functions.
pub(super) fn opens_parenthesis(from: &[u8], len: usize) -> bool {
    const WORDS: [u64; STRUCTURE.len()] = packed_if_short(STRUCTURE);
    const MULTIPLIER: u64 = perfect_multiplier(&WORDS);
    const BY_HASH: &[u64; 1 << HASH_BITS] = &words_by_hash(&WORDS, MULTIPLIER);
    const LONGEST: usize = longest(STRUCTURE);

    if len > SHORT {
        return len <= LONGEST && is_long_structure(from, len);
    }
    let word = match from.first_chunk() {
        Some(first) => u64::from_le_bytes(*first),
        None => from.iter().rev().fold(0, |word, byte| word << 8 | u64::from(*byte)),
    };
    let packed = pack_short(word, len);
    BY_HASH.get(hash(packed, MULTIPLIER)) == Some(&packed)
}

/// Each of `words`, packed; 0 for one that is longer than [`SHORT`].
#[expect(clippy::indexing_slicing, clippy::arithmetic_side_effects, reason = "the compiler runs it")]
const fn packed_if_short<const N: usize>(words: &[&str]) -> [u64; N] {
    let mut packed = [0; N];
    let mut i = 0;
    while i < N {
        packed[i] = pack_if_short(words[i].as_bytes());
        i += 1;
    }
    packed
}

/// Packed words by their hash; 0 where there is none.
#[expect(clippy::indexing_slicing, clippy::arithmetic_side_effects, reason = "the compiler runs it")]
const fn words_by_hash(words: &[u64], multiplier: u64) -> [u64; 1 << HASH_BITS] {
    let mut slots = [0; 1 << HASH_BITS];
    let mut i = 0;
    while i < words.len() {
        if words[i] != 0 {
            slots[hash(words[i], multiplier)] = words[i];
        }
        i += 1;
    }
    slots
}

#[expect(clippy::indexing_slicing, clippy::arithmetic_side_effects, reason = "the compiler runs it")]
const fn longest(words: &[&str]) -> usize {
    let (mut longest, mut i) = (0, 0);
    while i < words.len() {
        if words[i].len() > longest {
            longest = words[i].len();
        }
        i += 1;
    }
    longest
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
