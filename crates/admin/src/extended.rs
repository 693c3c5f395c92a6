//! Prepared statements and portals of a console client, and the messages of the extended protocol that name them.

use std::collections::HashMap;

use wire::{Malformed, Reader, SqlState, message::error::ErrorMessage};

use crate::{
    command::{Command, next_statement, parse},
    table::{Format, Formats, Table},
};

/// Most statements, and most portals, that one client may have.
const NAMES_MAX: usize = 256;

/// A portal.
///   Ready --Execute--> Open --last row sent--> Done
///     '---Execute of a command without rows-----^
#[derive(Debug)]
pub(crate) enum Portal {
    /// Bound. `None`: the text was empty.
    Ready(Option<Command>, Formats),
    /// Its rows before `next` have been sent.
    Open {
        /// All rows.
        table: Table,
        /// The first row that has not been sent.
        next: usize,
        formats: Formats,
    },
    /// It has nothing more to give.
    Done,
}

/// What a client has prepared and bound.
#[derive(Debug, Default)]
pub(crate) struct Names {
    statements: HashMap<Box<[u8]>, Option<Command>>,
    portals: HashMap<Box<[u8]>, Portal>,
}

/// An Execute.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Execute<'a> {
    pub(crate) portal: &'a [u8],
    /// At most so many rows; 0: all.
    pub(crate) rows_max: u32,
}

impl<'a> Execute<'a> {
    pub(crate) fn read(body: &'a [u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(body);
        let execute = Self { portal: reader.cstr()?, rows_max: reader.u32()? };
        reader.end()?;
        Ok(execute)
    }
}

impl Names {
    /// A Parse.
    pub(crate) fn parse(&mut self, name: &[u8], text: &[u8]) -> Result<(), ErrorMessage> {
        let text = String::from_utf8_lossy(text);
        let command = match next_statement(&text) {
            None => None,
            Some((statement, rest)) if next_statement(rest).is_none() => Some(parse(statement)?),
            Some(_) => {
                return Err(ErrorMessage::error(
                    SqlState::SYNTAX_ERROR,
                    "cannot insert multiple commands into a prepared statement",
                ));
            }
        };
        if !name.is_empty() && self.statements.contains_key(name) {
            return Err(ErrorMessage::error(
                SqlState::DUPLICATE_PREPARED_STATEMENT,
                format!("prepared statement \"{}\" already exists", String::from_utf8_lossy(name)),
            ));
        }
        check_count(self.statements.len())?;
        self.statements.insert(name.into(), command);
        Ok(())
    }

    /// A Bind.
    pub(crate) fn bind(&mut self, body: &[u8]) -> Result<(), ErrorMessage> {
        let Bind { portal, statement, parameters, formats } = Bind::read(body).map_err(malformed)?;
        let command = self.statement(statement)?.cloned();
        if parameters > 0 {
            return Err(ErrorMessage::error(
                SqlState::FEATURE_NOT_SUPPORTED,
                "console commands take no parameters",
            )
            .with_hint("Write the value into the command."));
        }
        check_count(self.portals.len())?;
        self.portals.insert(portal.into(), Portal::Ready(command, formats));
        Ok(())
    }

    /// The command of a prepared statement; `None` if its text is empty.
    pub(crate) fn statement(&self, name: &[u8]) -> Result<Option<&Command>, ErrorMessage> {
        self.statements.get(name).map(Option::as_ref).ok_or_else(|| unknown("prepared statement", name))
    }

    /// A portal.
    pub(crate) fn portal(&mut self, name: &[u8]) -> Result<&mut Portal, ErrorMessage> {
        self.portals.get_mut(name).ok_or_else(|| unknown("portal", name))
    }

    pub(crate) fn close_statement(&mut self, name: &[u8]) {
        self.statements.remove(name);
    }

    pub(crate) fn close_portal(&mut self, name: &[u8]) {
        self.portals.remove(name);
    }

    /// The transaction is over.
    pub(crate) fn close_portals(&mut self) {
        self.portals.clear();
    }

    /// `DISCARD ALL`, `DEALLOCATE`.
    pub(crate) fn close_statements(&mut self) {
        self.statements.clear();
    }
}

/// A Bind, of which only the number of parameters counts.
struct Bind<'a> {
    portal: &'a [u8],
    statement: &'a [u8],
    parameters: u16,
    formats: Formats,
}

impl<'a> Bind<'a> {
    fn read(body: &'a [u8]) -> Result<Self, Malformed> {
        let mut reader = Reader::new(body);
        let (portal, statement) = (reader.cstr()?, reader.cstr()?);
        for _ in 0..reader.u16()? {
            reader.u16()?;
        }
        let parameters = reader.u16()?;
        for _ in 0..parameters {
            let len = reader.u32()?;
            if i32::try_from(len).is_ok() {
                reader.bytes(len as usize)?;
            }
        }
        let mut formats = Vec::new();
        for _ in 0..reader.u16()? {
            formats.push(if reader.u16()? == 1 { Format::Binary } else { Format::Text });
        }
        reader.end()?;
        Ok(Self { portal, statement, parameters, formats: Formats(formats) })
    }
}

pub(crate) fn malformed(_: Malformed) -> ErrorMessage {
    ErrorMessage::error(SqlState::PROTOCOL_VIOLATION, "malformed message")
}

fn check_count(count: usize) -> Result<(), ErrorMessage> {
    if count < NAMES_MAX {
        return Ok(());
    }
    Err(ErrorMessage::error(
        SqlState::CONFIGURATION_LIMIT_EXCEEDED,
        "too many prepared statements or portals",
    )
    .with_detail(format!("A console client may have {NAMES_MAX} of each."))
    .with_hint("Close some of them."))
}

fn unknown(what: &str, name: &[u8]) -> ErrorMessage {
    ErrorMessage::error(
        SqlState::INVALID_SQL_STATEMENT_NAME,
        format!("{what} \"{}\" does not exist", String::from_utf8_lossy(name)),
    )
}
