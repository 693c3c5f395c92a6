#![expect(clippy::arithmetic_side_effects, clippy::indexing_slicing, reason = "a test may panic")]

use proptest::prelude::*;

use super::*;

#[track_caller]
fn check(sql: &str, expected: &[&str]) {
    let mut tokens = Tokenizer::new(sql.as_bytes());
    let found: Vec<_> = std::iter::from_fn(|| tokens.next())
        .map(|token| String::from_utf8_lossy(token.text()).into_owned())
        .collect();
    assert_eq!(found, expected, "{sql}");
}

#[test]
fn words_numbers_and_punctuation() {
    check("select a_1$, $1 from t;", &["select", "a_1$", ",", "$1", "from", "t", ";"]);
    check("1.5 .5 1. 1e5 1e+5 1e 1..2", &["1.5", ".5", "1.", "1e5", "1e+5", "1", "e", "1", "..", "2"]);
    check("a::b[1:2].c", &["a", "::", "b", "[", "1", ":", "2", "]", ".", "c"]);
    check("1a 0x1f 1_0$x$ 1_", &["1", "a", "0", "x1f", "1", "_0$x$", "1", "_"]);
}

#[test]
fn strings_with_and_without_prefixes() {
    check("'it''s' x'1f' B'01' n'a'", &["'it''s'", "x'1f'", "B'01'", "n'a'"]);
    check("'a\\' 'b'", &["'a\\'", "'b'"]);
    check("E'a\\'b' e'''' E'\\\\'", &["E'a\\'b'", "e''''", "E'\\\\'"]);
    check("U&'a\\' u&\"a\"\"b\" u & 'a'", &["U&'a\\'", "u&\"a\"\"b\"", "u", "&", "'a'"]);
    check(
        "U&\"a\" /* c */ UEscape -- d\n '!'(U&\"b\" uescape E'!'.c uescape '!'",
        &["U&\"a\" /* c */ UEscape -- d\n '!'", "(", "U&\"b\" uescape E'!'", ".", "c", "uescape", "'!'"],
    );
    check("U&\"a\" uescape$$, 1", &["U&\"a\"", "uescape$$", ",", "1"]);
    check("ne'a\\' 1", &["ne", "'a\\'", "1"]);
    check("'open ; ", &["'open ; "]);
    check("E'open\\", &["E'open\\"]);
}

#[test]
fn an_escape_string_goes_on_behind_a_newline() {
    check("E'a' \n 'b\\'c' d", &["E'a' \n 'b\\'c'", "d"]);
    check("E'a' -- c\n 'b\\'' d", &["E'a' -- c\n 'b\\''", "d"]);
    check("E'a' 'b\\' d", &["E'a'", "'b\\'", "d"]);
    check("E'a' /* \n */ 'b\\' d", &["E'a'", "'b\\'", "d"]);
}

#[test]
fn dollar_quotes() {
    check("$$a$b$$ c", &["$$a$b$$", "c"]);
    check("$t$ $$ $T$ $t$ c", &["$t$ $$ $T$ $t$", "c"]);
    check("$a$b$a$ $ä$x$ä$", &["$a$b$a$", "$ä$x$ä$"]);
    check("$t$$u$t$ 1", &["$t$$u$t$", "1"]);
    check("a$$b $1$$x$$", &["a$$b", "$1", "$$x$$"]);
    check("$ $a $1a", &["$", "$", "a", "$1", "a"]);
    check("$$open", &["$$open"]);
}

#[test]
fn comments_end_operators_and_nest() {
    check("a+-- c\n-b", &["a", "+", "-", "b"]);
    check("a*/* c */b", &["a", "*", "b"]);
    check("a<>/*/**/*/b", &["a", "<>", "b"]);
    check("a /* /* */ b", &["a"]);
    check("a --b\rc", &["a", "c"]);
    check("a - - b / * c", &["a", "-", "-", "b", "/", "*", "c"]);
    check("@>?|#>>", &["@>?|#>>"]);
}

#[test]
fn key_words_are_known_whatever_their_case_and_only_whole() {
    let keyword = |text: &'static str| Tokenizer::new(text.as_bytes()).next().map(|token| token.keyword);
    assert_eq!(keyword("SeLeCt"), Some(Keyword::Select));
    assert_eq!(keyword("select 1234567890123456"), Some(Keyword::Select));
    assert_eq!(keyword("characteristics"), Some(Keyword::Characteristics));
    assert_eq!(keyword("characteristicss"), Some(Keyword::Other));
    assert_eq!(keyword("selec"), Some(Keyword::Other));
    assert_eq!(keyword("select_"), Some(Keyword::Other));
    assert_eq!(keyword("\"select\""), Some(Keyword::Other));
    let opens =
        |text: &'static str| Tokenizer::new(text.as_bytes()).next().is_some_and(|t| t.opens_parenthesis());
    assert!(opens("IN (") && opens("precision") && !opens("lower (") && !opens("\"in\"("));
    assert!(!opens("precisionprecisionprecision"));
}

#[test]
fn every_key_word_is_found_wherever_it_stands_and_nothing_else_is() {
    let keyword = |text: &[u8]| Tokenizer::new(text).next().map(|token| token.keyword);
    for (word, expected) in keyword::WORDS.iter().zip(keyword::KEYWORDS) {
        let upper = word.to_ascii_uppercase();
        for word in [word.as_bytes(), upper.as_bytes()] {
            for behind in ["", " ", ";", " and more than a number holds", "\u{0}"] {
                let text = [word, behind.as_bytes()].concat();
                assert_eq!(keyword(&text), Some(*expected), "{text:?}");
                let plain = Tokenizer::new(&[b" ", &*text].concat()).next_plain().map(|token| token.keyword);
                assert_eq!(plain, Some(*expected), "{text:?}");
            }
            for at in 1..word.len() {
                let mut other = word.to_vec();
                other[at] = b'1';
                assert_eq!(keyword(&other), Some(Keyword::Other), "{other:?}");
                other[at] = word[at] | 0x80;
                assert_eq!(keyword(&other), Some(Keyword::Other), "{other:?}");
            }
            assert_eq!(keyword(&[word, b"_"].concat()), Some(Keyword::Other));
        }
    }
}

#[test]
fn plain_tokens_are_those_that_come_next() {
    for text in [
        "a",
        " _b1$ c",
        "1 ",
        "12",
        ", a",
        "= b",
        " 'it''s'",
        "- 1",
        "\u{e4} x",
        "e x",
        "'open",
        "(a",
        ")",
        ";;",
        ".a",
        "\"a \"\"\"b",
        "\"open",
    ] {
        let mut tokens = Tokenizer::new(text.as_bytes());
        let (plain, next) = (tokens.clone().next_plain().unwrap(), tokens.next().unwrap());
        assert_eq!((plain.kind, plain.text()), (next.kind, next.text()), "{text}");
    }
    for text in [
        "", "  a", "\na", "1.5", "1e5", "1.", "--", "/* */", "<=", "=-1", "e'a'", "u&\"a\"", ".5", "..",
        "::", "$1",
    ] {
        let mut tokens = Tokenizer::new(text.as_bytes());
        let before = tokens.clone();
        assert!(tokens.next_plain().is_none(), "{text}");
        assert_eq!(tokens.next().map(|token| token.text()), before.clone().next().map(|token| token.text()));
    }
}

proptest! {
    #[test]
    fn tokens_lie_one_behind_the_other(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let mut tokens = Tokenizer::new(&bytes);
        let mut end = 0;
        while let Some(token) = tokens.next() {
            let start = bytes.len() - token.from.len();
            prop_assert!(start >= end && !token.text().is_empty());
            end = start + token.text().len();
        }
        prop_assert!(end <= bytes.len());
    }

    #[test]
    fn a_text_cut_between_two_tokens_has_the_same_tokens(
        pieces in prop::collection::vec(prop::sample::select(vec![
            "a", "select", "'x;'", "\"y\"", "$1", "$$;$$", "(", ")", ";", ",", "::", "1.5", "/*;*/", "+", "E'\\''",
        ]), 0..20),
        cut in any::<prop::sample::Index>(),
    ) {
        let kinds = |text: &str| {
            let mut tokens = Tokenizer::new(text.as_bytes());
            std::iter::from_fn(|| tokens.next()).map(|token| token.kind).collect::<Vec<_>>()
        };
        let (left, right) = pieces.split_at(cut.index(pieces.len() + 1));
        let apart = [kinds(&left.join(" ")), kinds(&right.join(" "))].concat();
        prop_assert_eq!(kinds(&pieces.join(" ")), apart);
    }
}
