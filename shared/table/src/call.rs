//! Calls to the table: one function per kind of call, with its failures as outages and its conditions as answers.

use aws_sdk_dynamodb::{
    error::{ProvideErrorMetadata, SdkError},
    operation::{
        delete_item::builders::DeleteItemFluentBuilder,
        put_item::{PutItemError, builders::PutItemFluentBuilder},
        transact_write_items::TransactWriteItemsError,
        update_item::{UpdateItemError, builders::UpdateItemFluentBuilder},
    },
    types::{
        AttributeValue, ConditionCheck, Delete, KeysAndAttributes, Put, ReturnValuesOnConditionCheckFailure,
        TransactWriteItem, Update, builders::UpdateBuilder,
    },
};
use aws_smithy_types::error::display::DisplayErrorContext;
use mailrail_engine::{outage::Outage, ports::PageRequest};

use crate::{Item, Key, Table, key_of, text, text_of};

/// Keys in one batch of reads (DynamoDB: 100).
const BATCH_KEYS: usize = 100;
/// Times that keys which a batch left unread are asked for again.
const BATCH_ROUNDS_MAX: usize = 10;
/// Times that a transaction which met another one is tried again.
const CONFLICTS_MAX: u32 = 8;
/// First wait after such a meeting, in milliseconds; it doubles.
const CONFLICT_WAIT_MILLISECONDS: u64 = 10;

/// The attribute by which a write recognizes itself.
const WRITTEN_BY: &str = "written_by";
/// Hexadecimal digits of its value.
const TOKEN_DIGITS: usize = 16;

/// An outage of a service: its own code and words where it answered, else what kept the answer away. The whole reply
/// is left out, since it may repeat what was written.
pub fn outage<E, R>(what: &'static str) -> impl FnOnce(SdkError<E, R>) -> Outage
where
    E: std::error::Error + ProvideErrorMetadata + Send + Sync + 'static,
    R: std::fmt::Debug + Send + Sync + 'static,
{
    move |error| match (error.code(), error.message()) {
        (Some(code), message) => Outage::because(what, format!("{code}: {}", message.unwrap_or_default())),
        (None, _) => Outage::because(what, DisplayErrorContext(error).to_string()),
    }
}

/// Whether a conditional write was done that does no harm if it is done twice, such as a deletion. Other conditional writes
/// go through [`Table::update_if`] and [`Table::put_if`].
pub fn conditional<T, E, R>(result: Result<T, SdkError<E, R>>, what: &'static str) -> Result<bool, Outage>
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
#[derive(Debug)]
pub enum Sort {
    /// Every row of the partition.
    All,
    /// Rows whose sort key begins so.
    BeginsWith(&'static str),
    /// Rows between two sort keys, both included.
    Between(&'static str, &'static str),
}

/// A query of one partition, of the table or of the list index.
#[derive(Debug)]
pub struct Question {
    /// The partition.
    pub partition: String,
    /// Which of its rows.
    pub sort: Sort,
    /// Whether the partition is one of the list index.
    pub of_list: bool,
    /// Whether rows come from the last sort key to the first.
    pub newest_first: bool,
    /// Whether the answer has everything that was written before; the list index never has.
    pub consistent: bool,
    /// Rows in a page.
    pub limit: Option<usize>,
    /// Sort key after which to begin.
    pub after: Option<Item>,
}

impl Question {
    /// Every row of a partition of the table, from the first on.
    #[must_use]
    pub const fn of(partition: String) -> Self {
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

impl Table {
    /// Reads a row.
    pub async fn get(&self, key: Key, consistent: bool) -> Result<Option<Item>, Outage> {
        let request = self.client.get_item().table_name(&self.name).consistent_read(consistent);
        let reply = request.set_key(Some(key_of(key))).send().await.map_err(outage("reading the table"))?;
        Ok(reply.item)
    }

    /// One page of a query, and where the next begins.
    pub async fn query(&self, question: Question) -> Result<(Vec<Item>, Option<Item>), Outage> {
        let (pk, sk) = if question.of_list { ("list_pk", "list_sk") } else { ("pk", "sk") };
        let mut request = self
            .client
            .query()
            .table_name(&self.name)
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

    /// A page of a partition of the table, and its cursor: the sort key of its last row, if more follow.
    pub async fn page(&self, question: Question, page: &PageRequest) -> Result<(Vec<Item>, Option<String>), Outage> {
        let after = page.cursor.clone().map(|sort| key_of((question.partition.clone(), sort)));
        let (items, next) = self.query(Question { limit: Some(page.limit), after, ..question }).await?;
        Ok((items, next.and_then(|key| text_of(&key, "sk").map(str::to_owned))))
    }

    /// Reads rows by their keys, in the order of the keys; rows that are gone are left out.
    pub async fn get_all(&self, keys: Vec<Key>, consistent: bool) -> Result<Vec<Item>, Outage> {
        let mut found = std::collections::HashMap::new();
        for batch in keys.chunks(BATCH_KEYS) {
            let mut left: Vec<Item> = batch.iter().cloned().map(key_of).collect();
            for _ in 0..BATCH_ROUNDS_MAX {
                if left.is_empty() {
                    break;
                }
                let wanted = KeysAndAttributes::builder().consistent_read(consistent);
                let wanted = wanted.set_keys(Some(std::mem::take(&mut left))).build();
                let wanted = wanted.map_err(|error| Outage::because("asking for rows", error))?;
                let request = self.client.batch_get_item().request_items(&self.name, wanted);
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

    /// A request that changes a row.
    #[must_use]
    pub fn updating(&self, key: Key) -> UpdateItemFluentBuilder {
        self.client.update_item().table_name(&self.name).set_key(Some(key_of(key)))
    }

    /// A request that writes a row, to be given a condition.
    #[must_use]
    pub fn replacing(&self, item: Item) -> PutItemFluentBuilder {
        self.client.put_item().table_name(&self.name).set_item(Some(item))
    }

    /// A request that deletes a row, to be given a condition.
    #[must_use]
    pub fn removing(&self, key: Key) -> DeleteItemFluentBuilder {
        self.client.delete_item().table_name(&self.name).set_key(Some(key_of(key)))
    }

    /// The beginning of a part of a transaction that changes a row.
    #[must_use]
    pub fn update(&self, key: Key) -> UpdateBuilder {
        Update::builder().table_name(&self.name).set_key(Some(key_of(key)))
    }

    /// Changes a row on condition, and says whether the condition held. The update begins with `SET`.
    ///
    /// The SDK repeats a request whose answer was lost. The condition does not hold any more then, because the first
    /// request changed the row. So each write leaves a token in the row, and a refused write that finds its own token was
    /// done.
    pub async fn update_if(&self, update: UpdateItemFluentBuilder, what: &'static str) -> Result<bool, Outage> {
        let token = token();
        let expression = update.get_update_expression().clone().unwrap_or_default();
        let expression = expression.replacen("SET ", "SET #written_by = :written_by, ", 1);
        let condition = only_once(update.get_condition_expression().as_deref());
        let request = update
            .update_expression(expression)
            .condition_expression(condition)
            .expression_attribute_names("#written_by", WRITTEN_BY)
            .expression_attribute_values(":written_by", text(&token))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        match request.send().await {
            Ok(_) => Ok(true),
            Err(error) => match error.as_service_error() {
                Some(UpdateItemError::ConditionalCheckFailedException(failed)) => Ok(is_of(failed.item(), &token)),
                _ => Err(outage(what)(error)),
            },
        }
    }

    /// Writes a row on condition, and says whether the condition held; see [`Table::update_if`].
    pub async fn put_if(&self, put: PutItemFluentBuilder, what: &'static str) -> Result<bool, Outage> {
        Ok(self.put_once(put, what).await?.is_none())
    }

    /// Writes a row on condition. The row that is there, if the condition does not hold.
    async fn put_once(&self, put: PutItemFluentBuilder, what: &'static str) -> Result<Option<Item>, Outage> {
        let token = token();
        let condition = only_once(put.get_condition_expression().as_deref());
        let request = put
            .item(WRITTEN_BY, text(&token))
            .condition_expression(condition)
            .expression_attribute_names("#written_by", WRITTEN_BY)
            .expression_attribute_values(":written_by", text(&token))
            .return_values_on_condition_check_failure(ReturnValuesOnConditionCheckFailure::AllOld);
        match request.send().await {
            Ok(_) => Ok(None),
            Err(error) => match error.as_service_error() {
                Some(PutItemError::ConditionalCheckFailedException(failed)) if is_of(failed.item(), &token) => Ok(None),
                Some(PutItemError::ConditionalCheckFailedException(failed)) => {
                    Ok(Some(failed.item.clone().unwrap_or_default()))
                }
                _ => Err(outage(what)(error)),
            },
        }
    }

    /// Writes a row, whatever was there.
    pub async fn put(&self, item: Item) -> Result<(), Outage> {
        self.replacing(item).send().await.map_err(outage("writing the table"))?;
        Ok(())
    }

    /// Writes a row unless there is one with its key. The row that is there, if somebody else wrote it.
    pub async fn put_new(&self, item: Item) -> Result<Option<Item>, Outage> {
        let put = self.replacing(item).condition_expression("attribute_not_exists(pk)");
        self.put_once(put, "writing the table").await
    }

    /// Writes all or nothing. The number of the condition that did not hold, if one did not.
    pub async fn transact(&self, writes: Vec<TransactWriteItem>) -> Result<Option<usize>, Outage> {
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

    /// A part of a transaction that writes a row, whatever was there.
    pub fn putting(&self, item: Item) -> Result<TransactWriteItem, Outage> {
        self.build_put(Put::builder().table_name(&self.name).set_item(Some(item)))
    }

    /// A part of a transaction that writes a row on condition that none has its key.
    pub fn putting_new(&self, item: Item) -> Result<TransactWriteItem, Outage> {
        let put = Put::builder().table_name(&self.name).set_item(Some(item));
        self.build_put(put.condition_expression("attribute_not_exists(pk)"))
    }

    /// A part of a transaction that writes a row on condition that `attribute` of the row there is `value`.
    pub fn putting_if(&self, item: Item, attribute: &str, value: AttributeValue) -> Result<TransactWriteItem, Outage> {
        let put = Put::builder()
            .table_name(&self.name)
            .set_item(Some(item))
            .condition_expression("#a = :a")
            .expression_attribute_names("#a", attribute)
            .expression_attribute_values(":a", value);
        self.build_put(put)
    }

    /// A part of a transaction that writes a row on a condition.
    pub fn putting_where(&self, item: Item, condition: &str, values: Item) -> Result<TransactWriteItem, Outage> {
        let put = Put::builder().table_name(&self.name).set_item(Some(item)).condition_expression(condition);
        self.build_put(put.set_expression_attribute_values(Some(values)))
    }

    /// A part of a transaction that deletes a row on condition that it is gone or that its `attribute` is `value`.
    pub fn deleting_if(&self, key: Key, attribute: &str, value: AttributeValue) -> Result<TransactWriteItem, Outage> {
        let delete = Delete::builder()
            .table_name(&self.name)
            .set_key(Some(key_of(key)))
            .condition_expression("attribute_not_exists(pk) OR #a = :a")
            .expression_attribute_names("#a", attribute)
            .expression_attribute_values(":a", value)
            .build()
            .map_err(|error| Outage::because("asking for a deletion", error))?;
        Ok(TransactWriteItem::builder().delete(delete).build())
    }

    /// A part of a transaction that deletes a row on condition that its `attribute` is `value`.
    pub fn deleting_where(
        &self,
        key: Key,
        attribute: &str,
        value: AttributeValue,
    ) -> Result<TransactWriteItem, Outage> {
        let delete = Delete::builder()
            .table_name(&self.name)
            .set_key(Some(key_of(key)))
            .condition_expression("#a = :a")
            .expression_attribute_names("#a", attribute)
            .expression_attribute_values(":a", value)
            .build()
            .map_err(|error| Outage::because("asking for a deletion", error))?;
        Ok(TransactWriteItem::builder().delete(delete).build())
    }

    /// A part of a transaction that deletes a row on condition that it is there.
    pub fn deleting_existing(&self, key: Key) -> Result<TransactWriteItem, Outage> {
        let delete = Delete::builder().table_name(&self.name).set_key(Some(key_of(key)));
        let delete = delete.condition_expression("attribute_exists(pk)").build();
        let delete = delete.map_err(|error| Outage::because("asking for a deletion", error))?;
        Ok(TransactWriteItem::builder().delete(delete).build())
    }

    /// A part of a transaction that changes nothing and needs a row to be there.
    pub fn requiring(&self, key: Key) -> Result<TransactWriteItem, Outage> {
        let check = ConditionCheck::builder().table_name(&self.name).set_key(Some(key_of(key)));
        let check = check.condition_expression("attribute_exists(pk)").build();
        let check = check.map_err(|error| Outage::because("asking for a write", error))?;
        Ok(TransactWriteItem::builder().condition_check(check).build())
    }

    /// A part of a transaction that deletes a row, if it is there.
    pub fn deleting(&self, key: Key) -> Result<TransactWriteItem, Outage> {
        let delete = Delete::builder().table_name(&self.name).set_key(Some(key_of(key))).build();
        let delete = delete.map_err(|error| Outage::because("asking for a deletion", error))?;
        Ok(TransactWriteItem::builder().delete(delete).build())
    }

    fn build_put(&self, put: aws_sdk_dynamodb::types::builders::PutBuilder) -> Result<TransactWriteItem, Outage> {
        let put = put.build().map_err(|error| Outage::because("asking for a write", error))?;
        Ok(TransactWriteItem::builder().put(put).build())
    }
}

/// A token of one write.
fn token() -> String {
    let mut token = uuid::Uuid::new_v4().simple().to_string();
    token.truncate(TOKEN_DIGITS);
    token
}

/// A condition that does not hold again after its own write.
fn only_once(condition: Option<&str>) -> String {
    let again = "attribute_not_exists(#written_by) OR #written_by <> :written_by";
    condition.map_or_else(|| again.to_owned(), |condition| format!("({condition}) AND ({again})"))
}

fn is_of(item: Option<&Item>, token: &str) -> bool {
    item.and_then(|item| text_of(item, WRITTEN_BY)) == Some(token)
}
