//! Columns that are filled from a record's metadata.

use serde_json::{Value, json};

use crate::own_stream::{order, orders, replay, streams};
use crate::support::{NOW_MS, Record, record};

const TABLE: &str = "
    create table public.orders (number text, state text, topic text, part integer, pos bigint, at timestamptz, at_ms bigint,
                                sender text, trace text)";

fn columns() -> Value {
    json!({
        "topic": {"meta": "topic", "type": "text"}, "part": {"meta": "partition", "type": "integer"},
        "pos": {"meta": "offset", "type": "bigint"}, "at": {"meta": "timestamp", "type": "timestamptz"},
        "at_ms": {"meta": "timestamp", "type": "bigint"}, "sender": {"meta": "user", "type": "text"},
        "trace": {"meta": "trace_id", "type": "text"}
    })
}

fn headers() -> Vec<(String, String)> {
    vec![
        ("sluice-user".to_owned(), "änne".to_owned()),
        ("traceparent".to_owned(), "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".to_owned()),
    ]
}

#[tokio::test]
async fn metadata_lands_in_columns_whether_rows_are_sent_as_arrays_or_by_copy() {
    for count in [3, 600] {
        let own = orders("append", &json!({}), &columns(), TABLE).await;
        let batch: Vec<Record> = (0..count)
            .map(|offset| Record {
                headers: headers(),
                partition: 1,
                ..order(offset, &json!({"number": format!("{offset:04}")}))
            })
            .collect();
        assert_eq!(own.function.land(&batch).await.written, batch.len());
        let first = own.rows().await[2].clone();
        assert_eq!(
            first,
            json!({"number": "0002", "state": null, "topic": "orders", "part": 1, "pos": 2,
                   "at": "2023-11-14T22:13:20.002+00:00", "at_ms": NOW_MS + 2, "sender": "änne",
                   "trace": "4bf92f3577b34da6a3ce929d0e0e4736"}),
            "{count}"
        );
    }
}

#[tokio::test]
async fn a_column_is_null_if_the_record_lacks_its_metadata() {
    let own = orders("append", &json!({}), &columns(), TABLE).await;
    let headers =
        vec![("traceparent".to_owned(), "00-nonsense".to_owned()), ("sluice-user".to_owned(), "\0".to_owned())];
    let bare = Record { timestamp_ms: -1, headers, ..order(0, &json!({"number": "a"})) };
    assert_eq!(own.function.land(&[bare]).await.written, 1);
    let row = &own.rows().await[0];
    for column in ["at", "at_ms", "sender", "trace"] {
        assert_eq!(row[column], json!(null), "{column}");
    }
}

#[tokio::test]
async fn a_replayed_event_keeps_the_metadata_of_its_first_record() {
    let table = format!("{TABLE}; alter table public.orders add check (state <> 'bad')");
    let own = orders("append", &json!({}), &columns(), &table).await;
    let sender = |name: &str| vec![("sluice-user".to_owned(), name.to_owned())];
    let first = Record { headers: sender("ann"), ..order(0, &json!({"number": "a", "state": "bad"})) };
    assert_eq!(own.function.land(std::slice::from_ref(&first)).await.rejected, 1);
    let second = replay(&first, &first, 5);
    assert_eq!(own.function.land(std::slice::from_ref(&second)).await.rejected, 1);
    let drop = "alter table public.orders drop constraint orders_state_check";
    sqlx::query(drop).execute(&own.function.database.pool).await.expect("the check is dropped");
    let third = replay(&second, &first, 9);
    assert_eq!(own.function.land(std::slice::from_ref(&third)).await.written, 1);
    let row = &own.rows().await[0];
    assert_eq!((&row["pos"], &row["at_ms"], &row["sender"]), (&json!(0), &json!(NOW_MS), &json!("ann")));
}

#[tokio::test]
async fn an_entity_that_waited_for_its_parent_keeps_the_metadata_of_its_record() {
    let contract = |topic: &str, block: Value, columns: Value| {
        let mut block = block;
        block["topic"] = json!(topic);
        block["partitions"] = json!(2);
        block["mode"] = json!("entity");
        block["key"] = json!(["/number"]);
        block["columns"] = columns;
        block["columns"]["number"] = json!({"from": "/number", "type": "text"});
        json!({"type": "object", "required": ["number"], "x-sluice": block})
    };
    let mut of_order = columns();
    of_order["shop"] = json!({"from": "/shop", "type": "text"});
    let parent = json!({"stream": "shop", "from": "/shop"});
    let contracts = [
        ("shop", contract("shops", json!({"table": "public.shops"}), json!({}))),
        ("order", contract("orders", json!({"table": "public.orders", "parent": parent}), of_order)),
    ];
    let tables = format!(
        "create table public.shops (number text primary key); {TABLE};
         alter table public.orders add primary key (number), add column shop text references public.shops"
    );
    let own = streams(&contracts, &tables).await;

    let event = json!({"number": "a", "shop": "delft"});
    let waiting = Record { headers: headers(), partition: 1, ..order(7, &event) };
    assert_eq!(own.function.land(&[waiting]).await.waiting, 1);
    assert_eq!(own.rows().await, json!([]));
    let by_another_user = vec![("sluice-user".to_owned(), "bob".to_owned())];
    let shop = Record { headers: by_another_user, ..record("shops", 3, &json!({"number": "delft"})) };
    assert_eq!(own.function.land(&[shop]).await.released, 1);
    assert_eq!(
        own.rows().await,
        json!([{"number": "a", "shop": "delft", "state": null, "topic": "orders", "part": 1, "pos": 7,
                "at": "2023-11-14T22:13:20.007+00:00", "at_ms": NOW_MS + 7, "sender": "änne",
                "trace": "4bf92f3577b34da6a3ce929d0e0e4736"}])
    );
}
