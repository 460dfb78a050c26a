//! Single cases. The random histories in `model` cover them, too.

use consume::ConsumeError;
use consume::bigquery::BigqueryError;
use serde_json::json;

use super::fake::{REFUSED, Row};
use super::world::{World, deliver, reading};
use crate::support::Record;

fn row(partition: i64, offset: i64, number: i64) -> Row {
    Row { number, partition: Some(partition), offset: Some(offset) }
}

#[tokio::test]
async fn a_batch_lands_once_and_moves_only_the_watermarks_of_bigquery() {
    let world = World::new(1, true).await;
    let consume = world.start();
    let batch = [reading(0, 0, 1), reading(0, 1, 2), reading(1, 0, 3)];
    world.send(&batch);
    let landed = deliver(&consume, &batch).await.expect("the batch lands");
    assert_eq!((landed.records, landed.written), (3, 3));
    assert_eq!(world.tables.rows(), [row(0, 0, 1), row(0, 1, 2), row(1, 0, 3)]);
    let again = deliver(&consume, &batch).await.expect("the batch was applied before");
    assert_eq!((again.redelivered, again.written), (3, 0));
    assert_eq!(world.tables.rows().len(), 3);
    assert_eq!(world.watermarks().await, [(0, 2), (1, 1)]);
    let others = world.database.json("select destination from sluice.watermarks where destination <> 'bigquery'").await;
    assert_eq!(others, json!([]));
}

#[tokio::test]
async fn an_event_that_breaks_its_contract_or_is_refused_becomes_a_dead_letter_and_the_others_land() {
    let world = World::new(2, true).await;
    let consume = world.start();
    let invalid = Record { value: Some(b"{\"n\": \"x\"}".to_vec()), ..reading(0, 1, 0) };
    let tombstone = Record { value: None, ..reading(0, 3, 0) };
    let batch = [reading(0, 0, 1), invalid, reading(0, 2, REFUSED), tombstone, reading(0, 4, 5)];
    world.send(&batch);
    let landed = deliver(&consume, &batch).await.expect("the batch lands");
    assert_eq!((landed.written, landed.rejected, landed.tombstones), (2, 2, 1));
    assert_eq!(world.tables.rows(), [row(0, 0, 1), row(0, 4, 5)]);
    assert_eq!(
        world.exceptions().await,
        json!([
            {"partition": 0, "offset": 1, "what": "contract_violation"},
            {"partition": 0, "offset": 2, "what": "bigquery_refused"}
        ])
    );
    // After an append with a refused row, the function finalises the write stream and creates another.
    assert_eq!(world.tables.counts().finalized, 1);
}

#[tokio::test]
async fn an_event_with_an_id_lands_once_however_often_it_is_sent() {
    let world = World::new(3, true).await;
    let consume = world.start();
    let with_id = |record: Record, id: &str| Record {
        headers: vec![("sluice-user".to_owned(), "ann".to_owned()), ("idempotency-key".to_owned(), id.to_owned())],
        ..record
    };
    let first = [with_id(reading(0, 0, 1), "a"), with_id(reading(0, 1, 1), "a")];
    world.send(&first);
    assert_eq!(deliver(&consume, &first).await.expect("the batch lands").duplicates, 1);
    let second = [with_id(reading(0, 2, 1), "a"), with_id(reading(1, 0, 7), "a"), with_id(reading(0, 3, 2), "b")];
    world.send(&second);
    let landed = deliver(&consume, &second).await.expect("the batch lands");
    assert_eq!((landed.written, landed.duplicates, landed.rejected), (1, 1, 1));
    assert_eq!(world.tables.rows(), [row(0, 0, 1), row(0, 3, 2)]);
}

#[tokio::test]
async fn a_frozen_append_that_arrives_after_its_batch_has_landed_changes_nothing() {
    let world = World::new(4, true).await;
    let (frozen, other) = (world.start(), world.start());
    let batch = [reading(0, 0, 1), reading(0, 1, 2)];
    world.send(&batch);
    world.tables.freeze_next();
    let mut first = Box::pin(deliver(&frozen, &batch));
    tokio::select! {
        result = &mut first => panic!("{result:?}"),
        () = world.tables.frozen() => {}
    }
    assert_eq!(deliver(&other, &batch).await.expect("the batch lands").written, 2);
    world.tables.thaw();
    first.await.expect("the batch has landed");
    assert_eq!(world.tables.rows(), [row(0, 0, 1), row(0, 1, 2)]);
    assert_eq!(world.watermarks().await, [(0, 2)]);
}

#[tokio::test]
async fn a_batch_fails_without_dead_letters_while_bigquery_uses_an_old_schema() {
    let world = World::new(5, true).await;
    let consume = world.start();
    let batch = [reading(0, 0, 1)];
    world.send(&batch);
    world.tables.lag(1);
    let failure = deliver(&consume, &batch).await.expect_err("BigQuery still uses an old schema");
    assert_eq!(failure.name(), "Sluice.Stop");
    deliver(&consume, &batch).await.expect("the batch lands");
    assert_eq!((world.tables.rows().len(), world.tables.counts().finalized), (1, 0));
    assert_eq!(world.exceptions().await, json!([]));
}

#[tokio::test]
async fn an_open_intent_on_a_forgotten_write_stream_is_settled_only_if_the_rows_have_partition_and_offset() {
    for has_places in [true, false] {
        let world = World::new(6, has_places).await;
        let consume = world.start();
        let batch = [reading(0, 0, 1)];
        world.send(&batch);
        world.tables.freeze_next();
        tokio::select! {
            result = deliver(&consume, &batch) => panic!("{result:?}"),
            () = world.tables.frozen() => {}
        }
        world.tables.forget_streams();
        world.tables.thaw();
        let result = deliver(&world.start(), &batch).await;
        if has_places {
            assert_eq!(result.expect("the batch lands").written, 1);
            assert_eq!(world.tables.rows(), [row(0, 0, 1)]);
        } else {
            let error = result.expect_err("nothing shows whether the row was written");
            assert!(matches!(error, ConsumeError::Bigquery(BigqueryError::Undecided { .. })), "{error}");
            assert!(error.to_string().contains("lake.readings"), "{error}");
            assert_eq!(world.tables.rows(), []);
        }
    }
}

#[tokio::test]
async fn a_forgotten_write_stream_without_an_open_intent_is_replaced() {
    let world = World::new(7, false).await;
    let consume = world.start();
    for (offset, number) in [(0, 1), (1, 2)] {
        let batch = [reading(0, offset, number)];
        world.send(&batch);
        deliver(&consume, &batch).await.expect("the batch lands");
        world.tables.forget_streams();
    }
    assert_eq!(world.tables.rows().len(), 2);
}
