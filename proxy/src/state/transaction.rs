//! Several writes that happen together.
//!
//! Source: specification, state API 6.5.

use outrigger_component::Feature;
use outrigger_component::state::{DeleteRequest, Metadata, Operation, SetRequest, Transaction};
use outrigger_error::Error;

use super::Open;

/// A write of a transaction, with the key of the caller.
#[derive(Clone, Debug)]
pub(crate) enum Write {
    /// Writes a value.
    Upsert(SetRequest),
    /// Deletes one.
    Delete(DeleteRequest),
}

// === impl Open ===

impl Open<'_> {
    /// Whether the store has transactions; to be asked before a body is read.
    ///
    /// # Errors
    /// If it has none.
    pub(crate) fn check_transactions(&self) -> Result<(), Error> {
        if self.component().transactions().is_some() && self.store.can(&Feature::TRANSACTIONAL) {
            return Ok(());
        }
        let store = self.name().to_owned();
        Err(Error::StateTransactionsUnsupported { store })
    }

    /// Does writes in their order, all or none as far as the store can. No writes are the store's business, too.
    pub(crate) async fn transact(&self, writes: Vec<Write>, metadata: Metadata) -> Result<(), Error> {
        self.check_transactions()?;
        let mut operations = Vec::with_capacity(writes.len());
        for write in writes {
            operations.push(match write {
                Write::Upsert(mut request) => {
                    request.key = self.stored(&request.key)?;
                    Operation::Set(request)
                }
                Write::Delete(mut request) => {
                    request.key = self.stored(&request.key)?;
                    Operation::Delete(request)
                }
            });
        }
        let transactions = self.component().transactions().expect("the store was asked");
        if let Some(limit) = transactions.max_operations().await
            && operations.len() > limit
        {
            return Err(Error::StateTooManyOperations {
                store: self.name().to_owned(),
                given: operations.len(),
                limit,
            });
        }
        for operation in &mut operations {
            if let Operation::Set(request) = operation {
                self.encrypt(&mut request.value);
            }
        }
        // The outbox has its place here: it publishes what is to be written and adds its markers, once there are
        // brokers.
        let transaction = Transaction { operations, metadata };
        let outcome = self
            .run("transaction", || transactions.transact(&transaction))
            .await;
        outcome.map_err(|failed| Error::StateTransaction(failed.to_string()))
    }
}
