//! The operations of the function `users`.

use serde_json::{Map, Value, json};
use shared::http::problem_type::ProblemType;

use super::examples;
use super::operation::Operation;
use super::parts::{list_of, media, page_of, paged, path_parameter, paths};

/// Returns the paths.
pub(super) fn all() -> Map<String, Value> {
    paths([
        ("/register", json!({"post": register("register", "Registers a user")})),
        ("/new_user", json!({"post": register("newUser", "Registers a user, as /register does")})),
        ("/login", json!({"post": log_in()})),
        ("/blocked", json!({"get": blocked()})),
        ("/blocked/{user}", json!({"delete": lift_block()})),
        ("/users", json!({"get": users()})),
        ("/users/{user}", json!({"delete": delete_user()})),
        ("/users/{user}/password", json!({"put": change_password()})),
        ("/keys", json!({"get": keys(), "post": create_key()})),
        ("/keys/{id}", json!({"delete": delete_key()})),
    ])
}

/// Creates an operation of this function.
fn operation(id: &str, summary: &str) -> Operation {
    Operation::new("users", id, summary)
}

fn user() -> Value {
    path_parameter("user", json!({"type": "string"}), json!("ann"))
}

/// Sets a body of fields, as JSON or as a form.
fn posted(operation: Operation, schema: &Value, example: &Value) -> Operation {
    let content = || media(schema.clone(), example.clone());
    operation
        .changes()
        .body(json!({"application/json": content(), "application/x-www-form-urlencoded": content()}))
        .fails(&[ProblemType::REFUSED])
}

/// Returns an operation that registers a user. It is open to everyone or, with `REGISTRATION=closed`, only to admins.
fn register(id: &str, summary: &str) -> Value {
    let registered = json!({
        "type": "object",
        "required": ["user", "role"],
        "properties": {"user": {"type": "string"}, "role": role()}
    });
    let example = json!({"user": "ann", "role": "user"});
    posted(operation(id, summary), &new_account(), &json!({"user": "ann", "pass": "correct horse"}))
        .with("security", json!([{}, {"basic": []}, {"bearer": []}]))
        .answers(
            "201",
            json!({"description": "The user is registered.", "content": {"application/json": media(registered, example)}}),
        )
        .fails(&[ProblemType::TAKEN])
        .build()
}

fn log_in() -> Value {
    let example = json!({"success": true, "token": "eyJhbGciOiJIUzI1NiJ9.e30.c2lnbmF0dXJl", "token_type": "Bearer", "expires_in": 3600});
    let log_in = operation("logIn", "Returns a token for a name and a password").open();
    posted(log_in, &account(), &json!({"user": "ann", "pass": "correct horse"}))
        .ok(session(), example)
        .fails(&[ProblemType::UNAUTHORIZED, ProblemType::BLOCKED])
        .build()
}

fn blocked() -> Value {
    let blocked = json!({
        "type": "object",
        "required": ["users-blocked"],
        "properties": {"users-blocked": {"type": "array", "items": {"type": "string"}}}
    });
    operation("listBlocked", "The blocked users").ok(blocked, json!({"users-blocked": ["ann"]})).build()
}

fn lift_block() -> Value {
    let lift = operation("liftBlock", "Lifts a block").changes();
    lift.parameters(vec![user()]).no_content().fails(&[ProblemType::NOT_FOUND]).build()
}

fn users() -> Value {
    let example = json!({"user": "ann", "role": "user", "created": "2026-05-07T19:54:13.563Z", "blocked_until": null});
    let users = operation("listUsers", "The users").parameters(paged(vec![]));
    users.ok(list_of(listed()), page_of(example)).build()
}

fn delete_user() -> Value {
    operation("deleteUser", "Deletes a user")
        .changes()
        .parameters(vec![user()])
        .no_content()
        .fails(&[ProblemType::NOT_FOUND, ProblemType::LAST_ADMIN])
        .build()
}

fn change_password() -> Value {
    let change = json!({
        "type": "object",
        "required": ["new"],
        "properties": {
            "old": {"type": "string", "description": "Required to change one's own password."},
            "new": {"type": "string", "minLength": 8, "maxLength": 256}
        }
    });
    let example = json!({"old": "correct horse", "new": "battery staple"});
    posted(operation("changePassword", "Changes a password"), &change, &example)
        .parameters(vec![user()])
        .no_content()
        .fails(&[ProblemType::WRONG_PASSWORD, ProblemType::NOT_FOUND])
        .build()
}

fn keys() -> Value {
    let keys = operation("listKeys", "The service keys").parameters(paged(vec![]));
    keys.ok(list_of(key()), page_of(examples::key())).build()
}

fn create_key() -> Value {
    let new = json!({
        "type": "object",
        "required": ["name", "streams"],
        "additionalProperties": false,
        "properties": {
            "name": {"type": "string", "minLength": 1, "maxLength": 100},
            "streams": streams(),
            "expires_in": {
                "type": ["integer", "null"], "minimum": 1, "maximum": 3_153_600_000_u64,
                "description": "The time in seconds for which the key works. Without this member, the key works until it is deleted."
            },
            "user": {
                "type": ["string", "null"],
                "description": "The user that the key acts as. The default is the caller. Only an admin may name another user."
            }
        }
    });
    let mut created = key();
    created["properties"]["key"] =
        json!({"type": "string", "description": "The key itself. No other answer contains it."});
    created["required"].as_array_mut().into_iter().for_each(|required| required.push("key".into()));
    let mut example = examples::key();
    example["key"] = json!("slk_3pXlAFhrdB0QE8OvQd2nP7kxZWq0c5oTjU1yHs9bGmVeRt4NL");
    let posted = json!({"name": "checkout service", "streams": ["*"], "expires_in": 31_536_000});
    operation("createKey", "Creates a service key")
        .changes()
        .body(json!({"application/json": media(new, posted)}))
        .fails(&[ProblemType::REFUSED])
        .answers(
            "201",
            json!({"description": "The key is created.", "content": {"application/json": media(created, example)}}),
        )
        .build()
}

fn delete_key() -> Value {
    operation("deleteKey", "Deletes a service key")
        .changes()
        .parameters(vec![path_parameter("id", json!({"type": "integer", "minimum": 1}), json!(7))])
        .no_content()
        .fails(&[ProblemType::NOT_FOUND])
        .build()
}

fn key() -> Value {
    let time = json!({"type": "string", "format": "date-time"});
    let time_or_null = json!({"anyOf": [time, {"type": "null"}]});
    let mut last_used = time_or_null.clone();
    last_used["description"] = json!("Exact to the minute.");
    json!({
        "type": "object",
        "required": ["id", "name", "user", "streams", "prefix", "created", "expires", "last_used"],
        "properties": {
            "id": {"type": "integer", "minimum": 1},
            "name": {"type": "string"},
            "user": {"type": "string", "description": "The user that the key acts as."},
            "streams": streams(),
            "prefix": {"type": "string", "description": "The key's first characters."},
            "created": time,
            "expires": time_or_null,
            "last_used": last_used
        }
    })
}

fn streams() -> Value {
    json!({
        "type": "array", "minItems": 1, "uniqueItems": true, "items": {"type": "string"},
        "description": "The streams that the key may post to. [\"*\"] stands for all streams whose contracts list \
                        roles. A stream whose contract lists none must be named."
    })
}

fn account() -> Value {
    let name = json!({"type": "string", "minLength": 3, "maxLength": 64});
    let password = json!({"type": "string", "minLength": 8, "maxLength": 256});
    json!({
        "type": "object",
        "properties": {"user": name, "pass": password, "username": name, "password": password},
        "oneOf": [{"required": ["user"]}, {"required": ["username"]}],
        "anyOf": [{"required": ["pass"]}, {"required": ["password"]}]
    })
}

fn new_account() -> Value {
    let mut account = account();
    for name in ["user", "username"] {
        account["properties"][name]["pattern"] = json!(r"^[^:/?#%\\]*$");
    }
    account
}

fn session() -> Value {
    json!({
        "type": "object",
        "required": ["success", "token", "token_type", "expires_in"],
        "properties": {
            "success": {"const": true},
            "token": {"type": "string"},
            "token_type": {"const": "Bearer"},
            "expires_in": {"type": "integer", "description": "Seconds."}
        }
    })
}

fn listed() -> Value {
    let time = json!({"type": "string", "format": "date-time"});
    json!({
        "type": "object",
        "required": ["user", "role", "created", "blocked_until"],
        "properties": {
            "user": {"type": "string"},
            "role": role(),
            "created": time,
            "blocked_until": {"anyOf": [time, {"type": "null"}]}
        }
    })
}

fn role() -> Value {
    json!({"enum": ["user", "admin"]})
}
