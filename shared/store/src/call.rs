//! Calls to the table: one function per kind of call, with its failures as outages and its conditions as answers.

use aws_sdk_dynamodb::{
    error::{ProvideErrorMetadata, SdkError},
    operation::transact_write_items::TransactWriteItemsError,
    types::{AttributeValue, Delete, KeysAndAttributes, Put, TransactWriteItem},
};
use aws_smithy_types::error::display::DisplayErrorContext;
use mailrail_engine::outage::Outage;

use crate::{
    Store,
    keys::Key,
    rows::{Item, key_of, text, text_of},
};

/// Keys in one batch of reads (DynamoDB: 100).
const BATCH_KEYS: usize = 100;
/// Times that keys which a batch left unread are asked for again.
const BATCH_ROUNDS_MAX: usize = 10;
/// Times that a transaction which met another one is tried again.
const CONFLICTS_MAX: u32 = 8;
/// First wait after such a meeting, in milliseconds; it doubles.
const CONFLICT_WAIT_MILLISECONDS: u64 = 10;

/// An outage of a service: its own code and words where it answered, else what kept the answer away. The whole reply
/// is left out, since it may repeat what was written.
pub(crate) fn outage<E, R>(what: &'static str) -> impl FnOnce(SdkError<E, R>) -> Outage
where
    E: std::error::Error + ProvideErrorMetadata + Send + Sync + 'static,
    R: std::fmt::Debug + Send + Sync + 'static,
{
    move |error| match (error.code(), error.message()) {
        (Some(code), message) => Outage::because(what, format!("{code}: {}", message.unwrap_or_default())),
        (None, _) => Outage::because(what, DisplayErrorContext(error).to_string()),
    }
}

/// Whether a conditional write was done.
pub(crate) fn conditional<T, E, R>(result: Result<T, SdkError<E, R>>, what: &'static str) -> Result<bool, Outage>
where
    E: std::error::Error + ProvideErrorMetadata + Send + Sync + 'static,
    R: std::fmt::Debug + Send + Sync + 'static,
{
    match result {
        Ok(_) => Ok(true),
        Err(error) if error.code() == Some("ConditionalCheckFailedException") => Ok(false),
        Err(error) => Err(outage(what)(error)),
    }
}

/// A part of a query's key condition.
pub(crate) enum Sort {
    /// Every row of the partition.
    All,
    /// Rows whose sort key begins so.
    BeginsWith(&'static str),
    /// Rows between two sort keys, both included.
    Between(&'static str, &'static str),
}

/// A query of one partition, of the table or of the list index.
pub(crate) struct Question {
    pub partition: String,
    pub sort: Sort,
    pub of_list: bool,
    pub newest_first: bool,
    pub consistent: bool,
    pub limit: Option<usize>,
    /// Sort key after which to begin.
    pub after: Option<Item>,
}

impl Question {
    pub fn of(partition: String) -> Self {
        Self {
            partition,
            sort: Sort::All,
            of_list: false,
            newest_first: false,
            consistent: false,
            limit: None,
            after: None,
        }
    }
}

impl Store {
    pub(crate) async fn get(&self, key: Key, consistent: bool) -> Result<Option<Item>, Outage> {
        let request = self.client.get_item().table_name(&self.table).consistent_read(consistent);
        let reply = request.set_key(Some(key_of(key))).send().await.map_err(outage("reading the table"))?;
        Ok(reply.item)
    }

    /// One page of a query, and where the next begins.
    pub(crate) async fn query(&self, question: Question) -> Result<(Vec<Item>, Option<Item>), Outage> {
        let (pk, sk) = if question.of_list { ("list_pk", "list_sk") } else { ("pk", "sk") };
        let mut request = self
            .client
            .query()
            .table_name(&self.table)
            .expression_attribute_names("#pk", pk)
            .expression_attribute_values(":pk", text(question.partition))
            .scan_index_forward(!question.newest_first)
            .set_exclusive_start_key(question.after)
            .set_limit(question.limit.and_then(|limit| i32::try_from(limit).ok()));
        if question.of_list {
            request = request.index_name("listing");
        } else {
            request = request.consistent_read(question.consistent);
        }
        request = match question.sort {
            Sort::All => request.key_condition_expression("#pk = :pk"),
            Sort::BeginsWith(beginning) => request
                .key_condition_expression("#pk = :pk AND begins_with(#sk, :from)")
                .expression_attribute_names("#sk", sk)
                .expression_attribute_values(":from", text(beginning)),
            Sort::Between(from, to) => request
                .key_condition_expression("#pk = :pk AND #sk BETWEEN :from AND :to")
                .expression_attribute_names("#sk", sk)
                .expression_attribute_values(":from", text(from))
                .expression_attribute_values(":to", text(to)),
        };
        let reply = request.send().await.map_err(outage("querying the table"))?;
        Ok((reply.items.unwrap_or_default(), reply.last_evaluated_key))
    }

    /// Reads rows by their keys, in the order of the keys; rows that are gone are left out.
    pub(crate) async fn get_all(&self, keys: Vec<Key>) -> Result<Vec<Item>, Outage> {
        let mut found = std::collections::HashMap::new();
        for batch in keys.chunks(BATCH_KEYS) {
            let mut left: Vec<Item> = batch.iter().cloned().map(key_of).collect();
            for _ in 0..BATCH_ROUNDS_MAX {
                if left.is_empty() {
                    break;
                }
                let wanted = KeysAndAttributes::builder().set_keys(Some(std::mem::take(&mut left))).build();
                let wanted = wanted.map_err(|error| Outage::because("asking for rows", error))?;
                let request = self.client.batch_get_item().request_items(&self.table, wanted);
                let reply = request.send().await.map_err(outage("reading rows of the table"))?;
                for item in reply.responses.unwrap_or_default().into_values().flatten() {
                    let key = (text_of(&item, "pk").map(str::to_owned), text_of(&item, "sk").map(str::to_owned));
                    if let (Some(pk), Some(sk)) = key {
                        found.insert((pk, sk), item);
                    }
                }
                let unread = reply.unprocessed_keys.unwrap_or_default().into_values();
                left = unread.flat_map(|keys| keys.keys).collect();
            }
            if !left.is_empty() {
                return Err(Outage::new("the table did not give all rows of a page; try again"));
            }
        }
        Ok(keys.into_iter().filter_map(|key| found.remove(&key)).collect())
    }

    pub(crate) async fn put(&self, item: Item) -> Result<(), Outage> {
        let request = self.client.put_item().table_name(&self.table).set_item(Some(item));
        request.send().await.map_err(outage("writing the table"))?;
        Ok(())
    }

    /// Writes a row unless there is one with its key. The row that is there, if there is.
    pub(crate) async fn put_new(&self, item: Item) -> Result<Option<Item>, Outage> {
        let request = self
            .client
            .put_item()
            .table_name(&self.table)
            .set_item(Some(item))
            .condition_expression("attribute_not_exists(pk)")
            .return_values_on_condition_check_failure(
                aws_sdk_dynamodb::types::ReturnValuesOnConditionCheckFailure::AllOld,
            );
        match request.send().await {
            Ok(_) => Ok(None),
            Err(error) => match error.as_service_error() {
                Some(aws_sdk_dynamodb::operation::put_item::PutItemError::ConditionalCheckFailedException(failed)) => {
                    Ok(Some(failed.item.clone().unwrap_or_default()))
                }
                _ => Err(outage("writing the table")(error)),
            },
        }
    }

    /// Writes all or nothing. The number of the condition that did not hold, if one did not.
    pub(crate) async fn transact(&self, writes: Vec<TransactWriteItem>) -> Result<Option<usize>, Outage> {
        let mut wait = CONFLICT_WAIT_MILLISECONDS;
        for _ in 0..CONFLICTS_MAX {
            let request = self.client.transact_write_items().set_transact_items(Some(writes.clone()));
            let error = match request.send().await {
                Ok(_) => return Ok(None),
                Err(error) => error,
            };
            let Some(TransactWriteItemsError::TransactionCanceledException(canceled)) = error.as_service_error() else {
                return Err(outage("writing the table in a transaction")(error));
            };
            let reasons = canceled.cancellation_reasons();
            let failed = reasons.iter().position(|reason| reason.code() == Some("ConditionalCheckFailed"));
            if let Some(failed) = failed {
                return Ok(Some(failed));
            }
            if !reasons.iter().any(|reason| reason.code() == Some("TransactionConflict")) {
                return Err(outage("writing the table in a transaction")(error));
            }
            tokio::time::sleep(std::time::Duration::from_millis(wait)).await;
            wait *= 2;
        }
        Err(Outage::new("a transaction met others again and again"))
    }

    pub(crate) fn putting(&self, item: Item) -> Result<TransactWriteItem, Outage> {
        self.build_put(Put::builder().table_name(&self.table).set_item(Some(item)))
    }

    pub(crate) fn putting_new(&self, item: Item) -> Result<TransactWriteItem, Outage> {
        let put = Put::builder().table_name(&self.table).set_item(Some(item));
        self.build_put(put.condition_expression("attribute_not_exists(pk)"))
    }

    pub(crate) fn putting_if(
        &self,
        item: Item,
        attribute: &str,
        value: AttributeValue,
    ) -> Result<TransactWriteItem, Outage> {
        let put = Put::builder()
            .table_name(&self.table)
            .set_item(Some(item))
            .condition_expression("#a = :a")
            .expression_attribute_names("#a", attribute)
            .expression_attribute_values(":a", value);
        self.build_put(put)
    }

    pub(crate) fn putting_where(&self, item: Item, condition: &str, values: Item) -> Result<TransactWriteItem, Outage> {
        let put = Put::builder().table_name(&self.table).set_item(Some(item)).condition_expression(condition);
        self.build_put(put.set_expression_attribute_values(Some(values)))
    }

    /// Deletes a row on condition that it is gone or that its `attribute` is `value`.
    pub(crate) fn deleting_if(
        &self,
        key: Key,
        attribute: &str,
        value: AttributeValue,
    ) -> Result<TransactWriteItem, Outage> {
        let delete = Delete::builder()
            .table_name(&self.table)
            .set_key(Some(key_of(key)))
            .condition_expression("attribute_not_exists(pk) OR #a = :a")
            .expression_attribute_names("#a", attribute)
            .expression_attribute_values(":a", value)
            .build()
            .map_err(|error| Outage::because("asking for a deletion", error))?;
        Ok(TransactWriteItem::builder().delete(delete).build())
    }

    pub(crate) fn deleting_existing(&self, key: Key) -> Result<TransactWriteItem, Outage> {
        let delete = Delete::builder().table_name(&self.table).set_key(Some(key_of(key)));
        let delete = delete.condition_expression("attribute_exists(pk)").build();
        let delete = delete.map_err(|error| Outage::because("asking for a deletion", error))?;
        Ok(TransactWriteItem::builder().delete(delete).build())
    }

    pub(crate) fn deleting(&self, key: Key) -> Result<TransactWriteItem, Outage> {
        let delete = Delete::builder().table_name(&self.table).set_key(Some(key_of(key))).build();
        let delete = delete.map_err(|error| Outage::because("asking for a deletion", error))?;
        Ok(TransactWriteItem::builder().delete(delete).build())
    }

    fn build_put(&self, put: aws_sdk_dynamodb::types::builders::PutBuilder) -> Result<TransactWriteItem, Outage> {
        let put = put.build().map_err(|error| Outage::because("asking for a write", error))?;
        Ok(TransactWriteItem::builder().put(put).build())
    }
}
