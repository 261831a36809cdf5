//! The records keep the contracts of their ports, as the fakes do.

use mailrail_records_dynamodb::DynamoRecords;
use mailrail_store::Store;
use mailrail_table::Table;
use mailrail_test_support::{
    aws::{TABLE, client_of_fresh_table},
    outbox_suite, records_suite,
};

records_suite!(DynamoRecords::new(table().await));
outbox_suite!(state_and_records().await);

async fn table() -> Table {
    Table::new(client_of_fresh_table().await, TABLE.to_owned())
}

/// Both in one table, as they are deployed.
async fn state_and_records() -> (Store, DynamoRecords) {
    let table = table().await;
    (Store::new(table.clone()), DynamoRecords::new(table))
}
