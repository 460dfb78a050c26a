//! What users and admins do about users, by path and method. The function `users` answers it.

use serde_json::{Map, Value, json};

use super::operations::{list_of, operation, paged, path_parameter, shared_response, with_ok};

/// The paths.
pub(super) fn paths() -> Map<String, Value> {
    let user = || path_parameter("user", json!({"type": "string"}));
    let register = |id: &str, summary: &str| {
        let registered = json!({"type": "object", "properties": {"user": {"type": "string"}, "role": role()}});
        let mut operation = posted(open(operation("users", id, summary, &[])), &account());
        operation["responses"] = json!({
            "201": {"description": "The user is registered.", "content": {"application/json": {"schema": registered}}},
            "default": shared_response("Problem")
        });
        operation
    };
    let blocked = json!({
        "type": "object",
        "required": ["users-blocked"],
        "properties": {"users-blocked": {"type": "array", "items": {"type": "string"}}}
    });
    let change = json!({
        "type": "object",
        "required": ["new"],
        "properties": {
            "old": {"type": "string", "description": "A user's own has to be known."},
            "new": {"type": "string", "minLength": 8, "maxLength": 256}
        }
    });
    let paths = [
        ("/register", json!({"post": register("register", "Registers a user")})),
        ("/new_user", json!({"post": register("newUser", "Registers a user, as /register does")})),
        (
            "/login",
            json!({"post": posted(with_ok(open(operation("users", "logIn", "A token for a password", &[])), session()), &account())}),
        ),
        ("/blocked", json!({"get": with_ok(operation("users", "listBlocked", "Who is blocked", &[]), blocked)})),
        (
            "/blocked/{user}",
            json!({"delete": without_content(operation("users", "liftBlock", "Lifts a block", &[user()]))}),
        ),
        (
            "/users",
            json!({"get": with_ok(operation("users", "listUsers", "The users", &paged(vec![])), list_of(listed()))}),
        ),
        (
            "/users/{user}",
            json!({"delete": without_content(operation("users", "deleteUser", "Deletes a user", &[user()]))}),
        ),
        (
            "/users/{user}/password",
            json!({"put": posted(
                without_content(operation("users", "changePassword", "Changes a password", &[user()])),
                &change,
            )}),
        ),
    ];
    paths.into_iter().map(|(path, item)| (path.to_owned(), item)).collect()
}

/// An operation for which nobody needs credentials.
pub(super) fn open(mut operation: Value) -> Value {
    operation["security"] = json!([]);
    operation
}

fn posted(mut operation: Value, schema: &Value) -> Value {
    operation["requestBody"] = json!({"required": true, "content": {
        "application/json": {"schema": schema},
        "application/x-www-form-urlencoded": {"schema": schema}
    }});
    operation
}

fn without_content(mut operation: Value) -> Value {
    operation["responses"] = json!({"204": {"description": "As asked."}, "default": shared_response("Problem")});
    operation
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
