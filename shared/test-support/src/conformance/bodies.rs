//! Objects: whole ones, and large ones that appear only when they are whole.

use bytes::Bytes;
use mailrail_engine::{limits::CHUNK_BYTES, ports::BodyStore};

/// Every test of the suite, each on a fresh `$make`: an expression of a test's asynchronous body.
#[macro_export]
macro_rules! bodies_suite {
    ($make:expr) => {
        $crate::conformance_tests!(bodies in bodies, $make, [
            an_object_comes_back_as_it_was_written,
            an_object_that_was_never_written_is_not_there,
            an_object_written_again_has_the_second_content,
            an_object_of_no_bytes_is_there,
            an_object_is_read_only_if_it_is_small_enough,
            a_deleted_object_is_gone,
            deleting_what_is_not_there_is_no_error,
            objects_of_similar_keys_are_different,
            an_upload_of_several_pieces_is_one_object,
            an_upload_of_pieces_larger_than_they_must_be_is_one_object,
            an_upload_of_one_small_piece_is_an_object,
            an_upload_of_one_empty_piece_is_an_empty_object,
            an_upload_that_is_not_finished_shows_nothing,
            an_upload_that_is_not_finished_leaves_what_was_there,
            a_finished_upload_takes_the_place_of_what_was_there,
            uploads_of_one_key_do_not_mix,
        ]);
    };
}

const KEY: &str = "emails/0123456789abcdef-01234567/raw";
const TYPE: &str = "message/rfc822";
const NO_LIMIT: u64 = u64::MAX;

/// Bytes that show when one of them, or a piece of them, is not in its place.
fn content(length: usize, seed: usize) -> Bytes {
    (0..length).map(|n| u8::try_from((n / 256 + n + seed) % 251).unwrap_or(0)).collect()
}

async fn put(store: &impl BodyStore, key: &str, content: &Bytes) {
    store.put(key, content.clone(), TYPE).await.unwrap();
}

async fn get(store: &impl BodyStore, key: &str) -> Option<Bytes> {
    store.get(key, NO_LIMIT).await.unwrap()
}

async fn begun<S: BodyStore>(store: &S, pieces: &[Bytes]) -> S::Upload {
    let mut upload = store.begin(KEY, TYPE).await.unwrap();
    for piece in pieces {
        store.append(&mut upload, piece.clone()).await.unwrap();
    }
    upload
}

/// Whether two contents are the same. Megabytes in the message of a failed test would help nobody.
fn same(found: Option<Bytes>, pieces: &[Bytes]) -> bool {
    found.is_some_and(|found| found == pieces.concat())
}

pub async fn an_object_comes_back_as_it_was_written(store: &impl BodyStore) {
    let every_byte: Bytes = (0..=u8::MAX).collect();
    put(store, KEY, &every_byte).await;
    assert_eq!(get(store, KEY).await, Some(every_byte));
}

pub async fn an_object_that_was_never_written_is_not_there(store: &impl BodyStore) {
    put(store, KEY, &content(3, 0)).await;
    assert_eq!(get(store, "emails/other/raw").await, None);
}

pub async fn an_object_written_again_has_the_second_content(store: &impl BodyStore) {
    for length in [100, 10, 1_000] {
        put(store, KEY, &content(length, length)).await;
        assert_eq!(get(store, KEY).await, Some(content(length, length)));
    }
}

pub async fn an_object_of_no_bytes_is_there(store: &impl BodyStore) {
    put(store, KEY, &Bytes::new()).await;
    assert_eq!(get(store, KEY).await, Some(Bytes::new()));
    assert_eq!(store.get(KEY, 0).await.unwrap(), Some(Bytes::new()));
}

pub async fn an_object_is_read_only_if_it_is_small_enough(store: &impl BodyStore) {
    put(store, KEY, &content(1_000, 0)).await;
    assert_eq!(store.get(KEY, 1_000).await.unwrap(), Some(content(1_000, 0)));
    for bytes_max in [999, 0] {
        assert!(store.get(KEY, bytes_max).await.is_err(), "{bytes_max}");
    }
}

pub async fn a_deleted_object_is_gone(store: &impl BodyStore) {
    put(store, KEY, &content(3, 0)).await;
    store.delete(KEY).await.unwrap();
    assert_eq!(get(store, KEY).await, None);
}

pub async fn deleting_what_is_not_there_is_no_error(store: &impl BodyStore) {
    store.delete(KEY).await.unwrap();
    store.delete(KEY).await.unwrap();
}

pub async fn objects_of_similar_keys_are_different(store: &impl BodyStore) {
    let keys = ["emails/a/attachments/1", "emails/a/attachments/10", "emails/A/attachments/1", "emails/a"];
    for (n, key) in keys.into_iter().enumerate() {
        put(store, key, &content(10, n)).await;
    }
    store.delete(keys[3]).await.unwrap();
    for (n, key) in keys.into_iter().enumerate().take(3) {
        assert_eq!(get(store, key).await, Some(content(10, n)), "{key}");
    }
}

pub async fn an_upload_of_several_pieces_is_one_object(store: &impl BodyStore) {
    let pieces = [content(CHUNK_BYTES, 1), content(CHUNK_BYTES, 2), content(1_000, 3)];
    let upload = begun(store, &pieces).await;
    store.finish(upload).await.unwrap();
    assert!(same(get(store, KEY).await, &pieces));
}

pub async fn an_upload_of_pieces_larger_than_they_must_be_is_one_object(store: &impl BodyStore) {
    let pieces = [content(CHUNK_BYTES + 1, 1), content(CHUNK_BYTES * 3 / 2, 2)];
    let upload = begun(store, &pieces).await;
    store.finish(upload).await.unwrap();
    assert!(same(get(store, KEY).await, &pieces));
}

pub async fn an_upload_of_one_small_piece_is_an_object(store: &impl BodyStore) {
    let upload = begun(store, &[content(10, 0)]).await;
    store.finish(upload).await.unwrap();
    assert_eq!(get(store, KEY).await, Some(content(10, 0)));
}

pub async fn an_upload_of_one_empty_piece_is_an_empty_object(store: &impl BodyStore) {
    let upload = begun(store, &[Bytes::new()]).await;
    store.finish(upload).await.unwrap();
    assert_eq!(get(store, KEY).await, Some(Bytes::new()));
}

pub async fn an_upload_that_is_not_finished_shows_nothing(store: &impl BodyStore) {
    let upload = begun(store, &[content(CHUNK_BYTES, 1), content(10, 2)]).await;
    assert_eq!(get(store, KEY).await, None);
    drop(upload);
    assert_eq!(get(store, KEY).await, None);
}

pub async fn an_upload_that_is_not_finished_leaves_what_was_there(store: &impl BodyStore) {
    put(store, KEY, &content(3, 0)).await;
    let upload = begun(store, &[content(CHUNK_BYTES, 1), content(10, 2)]).await;
    assert_eq!(get(store, KEY).await, Some(content(3, 0)));
    drop(upload);
    assert_eq!(get(store, KEY).await, Some(content(3, 0)));
}

pub async fn a_finished_upload_takes_the_place_of_what_was_there(store: &impl BodyStore) {
    let pieces = [content(CHUNK_BYTES, 1), content(10, 2)];
    put(store, KEY, &content(3, 0)).await;
    let upload = begun(store, &pieces).await;
    store.finish(upload).await.unwrap();
    assert!(same(get(store, KEY).await, &pieces));
}

pub async fn uploads_of_one_key_do_not_mix(store: &impl BodyStore) {
    let (first, second) = ([content(CHUNK_BYTES, 1), content(10, 2)], [content(CHUNK_BYTES, 3), content(20, 4)]);
    let (one, two) = (begun(store, &first).await, begun(store, &second).await);
    store.finish(two).await.unwrap();
    assert!(same(get(store, KEY).await, &second));
    store.finish(one).await.unwrap();
    assert!(same(get(store, KEY).await, &first));
}
