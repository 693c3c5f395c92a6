//! The parameter types of PREPARE, as Parse has them.

use crate::token::{Token, TokenKind, Tokenizer};

/// Built-in types by the names that the grammar and the catalogue have for them: OID, and OID of the array.
const TYPES: [(&[u8], u32, u32); 48] = [
    (b"bigint", 20, 1016),
    (b"bool", 16, 1000),
    (b"boolean", 16, 1000),
    (b"bytea", 17, 1001),
    (b"character", 1042, 1014),
    (b"character varying", 1043, 1015),
    (b"cidr", 650, 651),
    (b"date", 1082, 1182),
    (b"dec", 1700, 1231),
    (b"decimal", 1700, 1231),
    (b"double precision", 701, 1022),
    (b"float4", 700, 1021),
    (b"float8", 701, 1022),
    (b"inet", 869, 1041),
    (b"int", 23, 1007),
    (b"int2", 21, 1005),
    (b"int4", 23, 1007),
    (b"int8", 20, 1016),
    (b"integer", 23, 1007),
    (b"interval", 1186, 1187),
    (b"json", 114, 199),
    (b"jsonb", 3802, 3807),
    (b"macaddr", 829, 1040),
    (b"money", 790, 791),
    (b"name", 19, 1003),
    (b"numeric", 1700, 1231),
    (b"oid", 26, 1028),
    (b"point", 600, 1017),
    (b"real", 700, 1021),
    (b"regclass", 2205, 2210),
    (b"smallint", 21, 1005),
    (b"text", 25, 1009),
    (b"time", 1083, 1183),
    (b"time with time zone", 1266, 1270),
    (b"time without time zone", 1083, 1183),
    (b"timestamp", 1114, 1115),
    (b"timestamp with time zone", 1184, 1185),
    (b"timestamp without time zone", 1114, 1115),
    (b"timestamptz", 1184, 1185),
    (b"timetz", 1266, 1270),
    (b"tsquery", 3615, 3645),
    (b"tsvector", 3614, 3643),
    (b"uuid", 2950, 2951),
    (b"varbit", 1562, 1563),
    (b"varchar", 1043, 1015),
    (b"xml", 142, 143),
    (b"bit varying", 1562, 1563),
    (b"int4range", 3904, 3905),
];

/// The longest of these names.
const NAME_MAX: usize = 27;

/// A type that is being read.
#[derive(Default)]
struct Reading {
    name: Vec<u8>,
    /// It has modifiers, which PREPARE ignores, as in `varchar(10)`.
    modified: bool,
    array: bool,
}

impl Reading {
    fn oid(&self) -> Option<u32> {
        // char(1) is not "char", and how long a float is decides which it is: neither is in the table
        let (_, oid, array) = TYPES.iter().find(|(name, ..)| *name == self.name)?;
        Some(if self.array { *array } else { *oid })
    }

    fn word(&mut self, token: Token<'_>) -> Option<()> {
        if self.array {
            return None;
        }
        if !self.name.is_empty() {
            self.name.push(b' ');
        }
        self.name.extend_from_slice(token.text());
        self.name.make_ascii_lowercase();
        (self.name.len() <= NAME_MAX).then_some(())
    }
}

/// Reads the list behind its `(`, the `)` included: count and OIDs. `None` if one of them is not known here.
pub(crate) fn declared_types(tokens: &mut Tokenizer<'_>) -> Option<Vec<u8>> {
    let (mut count, mut oids) = (0_u16, Vec::new());
    let mut reading = Reading::default();
    loop {
        let token = tokens.next()?;
        match token.kind {
            TokenKind::Word => reading.word(token)?,
            TokenKind::Open if !reading.modified => {
                reading.modified = true;
                while tokens.next()?.kind != TokenKind::Close {}
            }
            TokenKind::Other if token.text() == b"[" => {
                reading.array = true;
                let mut inside = tokens.next()?;
                if inside.kind == TokenKind::Number {
                    inside = tokens.next()?;
                }
                (inside.text() == b"]").then_some(())?;
            }
            TokenKind::Comma | TokenKind::Close => {
                oids.extend_from_slice(&reading.oid()?.to_be_bytes());
                count = count.checked_add(1)?;
                if token.kind == TokenKind::Close {
                    return Some([count.to_be_bytes().as_slice(), &oids].concat());
                }
                reading = Reading::default();
            }
            _ => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(sql: &str, expected: Option<&[u32]>) {
        let read = declared_types(&mut Tokenizer::new(sql.as_bytes()));
        let expected = expected.map(|oids| {
            let count = u16::try_from(oids.len()).unwrap().to_be_bytes().to_vec();
            oids.iter().fold(count, |bytes, oid| [bytes, oid.to_be_bytes().to_vec()].concat())
        });
        assert_eq!(read, expected, "{sql}");
    }

    #[test]
    fn types_are_those_of_the_catalogue() {
        check("int)", Some(&[23]));
        check("INT4, Text , numeric(10, 2))", Some(&[23, 25, 1700]));
        check("character varying(10), timestamp (3) with time zone)", Some(&[1043, 1184]));
        check("int[], text[3], uuid[][])", Some(&[1007, 1009, 2951]));
        assert!(TYPES.iter().all(|(name, ..)| name.len() <= NAME_MAX));
    }

    #[test]
    fn what_is_not_known_is_left_to_the_server() {
        for sql in [
            "mood)",
            "\"int\")",
            "pg_catalog.int4)",
            "float(24))",
            "char)",
            "setof int)",
            ")",
            "int",
            "int,)",
        ] {
            check(sql, None);
        }
    }
}
