//! What is known of a text as soon as it is sent: how it bears on the transaction, the settings and the pins.

use sql::{Class, Effect, Kind, Statements};

use crate::{
    effects::Place,
    exchange::{Block, Next},
    pin::Pins,
    session::Session,
};

impl Session {
    /// The unit that is being sent holds something that is not known to be a read.
    pub(crate) fn note_write(&mut self) {
        let exchange = self.exchange_mut();
        exchange.writes.note(exchange.units_sent);
    }

    /// What running a text of this class means for the session.
    pub(crate) fn note_class(&mut self, class: Class, place: Place, text: &[u8]) {
        let unit = self.exchange().units_sent;
        let exchange = self.exchange_mut();
        match class.kind {
            Kind::Empty | Kind::Read => {}
            Kind::Begin { .. } | Kind::Rollback { chain: true } => exchange.block = Block::Open,
            Kind::Commit { chain } => {
                exchange.block = Block::Committing { chain };
                if !sql::is_commit(text) {
                    exchange.witness.is_unfit(); // what is prepared is not committed, and survives
                }
            }
            Kind::Rollback { chain: false } => exchange.block = Block::None,
            Kind::Control | Kind::Session => {}
            Kind::Write => {
                exchange.writes.note(unit);
                if class.statements == Statements::Many && sql::holds_commit(text) {
                    exchange.block = Block::Committing { chain: false };
                    exchange.witness.is_unfit(); // or one of several
                }
            }
        }
        // a commit ends it where it is executed
        if matches!(class.kind, Kind::Begin { .. } | Kind::Rollback { .. }) {
            exchange.witness.transaction_ends();
        }
        if matches!(class.kind, Kind::Commit { .. } | Kind::Rollback { .. }) {
            exchange.effects.ask_end(unit, place);
        }
        self.note_release(text);
        self.note_settings(class, text);
        match class.effect {
            Effect::None | Effect::LocalSettings | Effect::Deallocate => {}
            Effect::DeallocateAll => self.exchange_mut().next = Next::Waits,
            Effect::Settings | Effect::Listen | Effect::Unlisten => {
                let exchange = self.exchange_mut();
                if exchange.effects.ask(unit, place, text) && !self.startup.is_empty() {
                    // the server's own settings are not what the client began with
                    self.exchange_mut().next = Next::Waits;
                }
            }
            Effect::DiscardAll => {
                let exchange = self.exchange_mut();
                exchange.next = Next::Waits;
                exchange.pinned_since_discard = Pins::default();
                exchange.effects.ask_discard(unit, place);
            }
            Effect::Pin(_) => {
                // among several there may be a DEALLOCATE ALL
                if class.statements == Statements::Many {
                    self.exchange_mut().next = Next::Waits;
                }
                self.pins_of(class).into_iter().for_each(|reasons| self.pin(reasons));
            }
        }
        // whatever follows in the same text may commit
        let block = self.exchange().block;
        if !block.is_open() || block.is_committing() || class.statements == Statements::Many {
            self.listen_may_commit();
        }
    }
}
