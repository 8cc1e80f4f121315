//! Several writes at once: a `MULTI` of the servers, or one for each slot of a cluster.
//!
//! Nothing is rolled back: a write that its script refuses leaves the others done.

use outrigger_component::state::{Operation, StateError, Transaction};
use redis::{Pipeline, Value};

use super::write::Write;
use super::{Layout, RedisStore, warn_of_transactions};
use crate::error::Error;
use crate::link::{Pace, slot};
use crate::script::By;
use crate::value;

// === impl RedisStore ===

impl RedisStore {
    pub(super) async fn transact_all(&self, transaction: &Transaction) -> Result<(), StateError> {
        warn_of_transactions();
        let writes = transaction.operations.iter().map(|operation| match operation {
            Operation::Set(request) => {
                request.options.check()?;
                let layout = self.layout_in(transaction, &request.metadata);
                Write::of_set_in_transaction(request, layout, self.ttl)
            }
            Operation::Delete(request) => {
                request.options.check()?;
                let layout = self.layout_in(transaction, &request.metadata);
                Ok(Write::of_delete(request, layout))
            }
        });
        let writes = writes.collect::<Result<Vec<_>, _>>()?;
        for group in self.groups(writes) {
            self.multi(&group).await.map_err(StateError::other)?;
        }
        Ok(())
    }

    /// How a value is kept: as its own metadata say, or those of the whole.
    fn layout_in(
        &self,
        transaction: &Transaction,
        metadata: &outrigger_component::state::Metadata,
    ) -> Layout {
        match self.layout(metadata) {
            Layout::Hash => self.layout(&transaction.metadata),
            Layout::Document => Layout::Document,
        }
    }

    /// The writes that can be done together, in the order of the first of each.
    fn groups<'a>(&self, writes: Vec<Write<'a>>) -> Vec<Vec<Write<'a>>> {
        if !self.client.is_cluster() {
            return if writes.is_empty() {
                Vec::new()
            } else {
                vec![writes]
            };
        }
        let mut groups: Vec<(u16, Vec<Write<'a>>)> = Vec::new();
        for write in writes {
            let slot = slot(write.key.as_bytes());
            match groups.iter_mut().find(|(known, _)| *known == slot) {
                Some((_, group)) => group.push(write),
                None => groups.push((slot, vec![write])),
            }
        }
        groups.into_iter().map(|(_, group)| group).collect()
    }

    async fn multi(&self, writes: &[Write<'_>]) -> Result<(), Error> {
        let Some(first) = writes.first() else {
            return Ok(());
        };
        let mut commands = Pipeline::with_capacity(writes.len() + 2);
        commands.cmd("MULTI");
        for (place, write) in writes.iter().enumerate() {
            // Whether the server knows a script is seen too late within MULTI, so the first of each brings its text.
            let mut before = writes[..place].iter();
            let is_known = before.any(|other| std::ptr::eq(other.script(), write.script()));
            commands.add_command(write.command(if is_known { By::Hash } else { By::Text }));
        }
        commands.cmd("EXEC");
        let again = Write::again_all(writes);
        let mut answers = self
            .client
            .together(first.key, Pace::Quick, &commands, again)
            .await?;
        let done = answers.pop().unwrap_or(Value::Nil);
        // What was wrong with a command is better news than that nothing was done because of it.
        answers
            .into_iter()
            .try_for_each(|answer| value::answer(answer).map(drop))?;
        let results = value::elements(done)?;
        results
            .into_iter()
            .try_for_each(|result| value::answer(result).map(drop))
    }
}
