//! The table, the bucket and the vault keep the contracts of the ports, as the fakes do.

#![expect(clippy::unwrap_used, reason = "a test that cannot be set up has failed")]

use mailrail_store::{Bodies, KmsVault, Store};
use mailrail_table::Table;
use mailrail_test_support::{
    aws::{TABLE, account, client_of_fresh_table, client_that_loses_first_answers},
    bodies_suite, encryption_suite, state_suite, vault_suite,
};

state_suite!(store().await);
bodies_suite!(bodies().await);
vault_suite!(vault().await);
encryption_suite!(vault().await);

/// The SDK repeats a request whose answer was lost, so every write of the suite is carried out twice.
mod after_lost_answers {
    use super::*;

    state_suite!(store().await);

    async fn store() -> Store {
        Store::new(Table::new(client_that_loses_first_answers().await, TABLE.to_owned()))
    }
}

async fn store() -> Store {
    Store::new(Table::new(client_of_fresh_table().await, TABLE.to_owned()))
}

async fn bodies() -> Bodies {
    let (config, account) = account();
    let settings = aws_sdk_s3::config::Builder::from(&config).force_path_style(true);
    let client = aws_sdk_s3::Client::from_conf(settings.build());
    let bucket = format!("message-bodies-{account}");
    client.create_bucket().bucket(&bucket).send().await.unwrap();
    Bodies::new(client, bucket)
}

async fn vault() -> KmsVault {
    let (config, _) = account();
    let client = aws_sdk_kms::Client::new(&config);
    let key = client.create_key().send().await.unwrap().key_metadata.unwrap();
    KmsVault::new(client, key.key_id)
}
