//! Evaluates `template.yaml` as CloudFormation does when every parameter has its default.

use std::path::{Path, PathBuf};

use serde_norway::value::TaggedValue;
use serde_norway::{Mapping, Value};

/// Why a template cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum TemplateError {
    /// The file cannot be read.
    #[error("{}: {source}", .path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The file is not YAML.
    #[error("{}: {source}", .path.display())]
    Yaml {
        /// The file.
        path: PathBuf,
        /// Where and why.
        source: serde_norway::Error,
    },
}

/// A template. References to parameters are replaced by the parameters' defaults, and each `!If` is replaced by the
/// branch that its condition selects. Values that depend on anything else stay as written.
#[derive(Debug)]
pub struct Template {
    /// The file.
    pub path: PathBuf,
    resources: Mapping,
    document: Value,
}

/// Returns the path of the project's own `template.yaml`.
pub fn own_path() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../template.yaml")
}

impl Template {
    /// Reads a template.
    ///
    /// # Errors
    /// The file cannot be read, or is not YAML.
    pub fn read(path: &Path) -> Result<Self, TemplateError> {
        let path = path.to_owned();
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(source) => return Err(TemplateError::Unreadable { path, source }),
        };
        // `Value` keeps CloudFormation's tags (!Ref, !Sub, !If …).
        let template: Value = match serde_norway::from_str(&text) {
            Ok(template) => template,
            Err(source) => return Err(TemplateError::Yaml { path, source }),
        };
        let settled = Defaults { template: &template }.settle(template.get("Resources").unwrap_or(&Value::Null));
        let resources = match settled {
            Some(Value::Mapping(resources)) => resources,
            _ => Mapping::new(),
        };
        Ok(Self { path, resources, document: template })
    }

    /// Finds all members with this name, in every branch of every `!If`, whatever the parameters' defaults are. Returns
    /// their paths and their unevaluated values.
    pub fn written(&self, name: &str) -> Vec<(String, &Value)> {
        let mut found = Vec::new();
        find(&self.document, name, "", &mut found);
        found
    }

    /// Returns the template's resources and their names.
    pub fn resources(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.resources.iter().filter_map(|(name, resource)| Some((name.as_str()?, resource)))
    }
}

fn find<'v>(value: &'v Value, name: &str, path: &str, found: &mut Vec<(String, &'v Value)>) {
    match value {
        Value::Mapping(members) => {
            for (key, member) in members {
                let key = key.as_str().unwrap_or_default();
                let path = format!("{path}/{key}");
                if key == name {
                    found.push((path.trim_start_matches('/').to_owned(), member));
                }
                find(member, name, &path, found);
            }
        }
        Value::Sequence(items) => items.iter().for_each(|item| find(item, name, path, found)),
        Value::Tagged(tagged) => find(&tagged.value, name, path, found),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => {}
    }
}

/// The default values of parameters and conditions.
struct Defaults<'a> {
    template: &'a Value,
}

impl Defaults<'_> {
    /// Evaluates a value as far as the defaults allow. Returns `None` for `AWS::NoValue`.
    fn settle(&self, value: &Value) -> Option<Value> {
        Some(match value {
            Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value.clone(),
            Value::Sequence(items) => items.iter().filter_map(|item| self.settle(item)).collect(),
            Value::Mapping(members) => {
                let member = |(name, value): (&Value, &Value)| Some((name.clone(), self.settle(value)?));
                Value::Mapping(members.iter().filter_map(member).collect())
            }
            Value::Tagged(tagged) if tagged.tag == "Ref" => match tagged.value.as_str() {
                Some("AWS::NoValue") => return None,
                Some(name) => self.parameter(name).unwrap_or(value).clone(),
                None => value.clone(),
            },
            Value::Tagged(tagged) if tagged.tag == "If" => match self.choose(tagged) {
                Some(chosen) => return self.settle(chosen),
                None => value.clone(),
            },
            Value::Tagged(_) => value.clone(),
        })
    }

    fn parameter(&self, name: &str) -> Option<&Value> {
        self.template.get("Parameters")?.get(name)?.get("Default")
    }

    fn choose<'v>(&self, tagged: &'v TaggedValue) -> Option<&'v Value> {
        match &tagged.value.as_sequence()?[..] {
            [condition, then, otherwise] => {
                Some(if self.condition(condition.as_str()?, MOST_NESTED)? { then } else { otherwise })
            }
            _ => None,
        }
    }

    fn condition(&self, name: &str, most_nested: usize) -> Option<bool> {
        self.holds(self.template.get("Conditions")?.get(name)?, most_nested.checked_sub(1)?)
    }

    /// Evaluates a condition. Returns `None` if the condition depends on something that only AWS knows.
    fn holds(&self, value: &Value, most_nested: usize) -> Option<bool> {
        let Value::Tagged(tagged) = value else { return None };
        let all = || -> Option<Vec<bool>> {
            tagged.value.as_sequence()?.iter().map(|value| self.holds(value, most_nested)).collect()
        };
        if tagged.tag == "Condition" {
            self.condition(tagged.value.as_str()?, most_nested)
        } else if tagged.tag == "Not" {
            all()?.first().map(|held| !held)
        } else if tagged.tag == "And" {
            Some(all()?.into_iter().all(|held| held))
        } else if tagged.tag == "Or" {
            Some(all()?.into_iter().any(|held| held))
        } else if tagged.tag == "Equals" {
            match &tagged.value.as_sequence()?[..] {
                [one, other] => Some(text(&self.settle(one)?)? == text(&self.settle(other)?)?),
                _ => None,
            }
        } else {
            None
        }
    }
}

/// The maximum depth of conditions that refer to other conditions. Without this limit, the evaluation of a condition
/// that refers to itself would never end.
const MOST_NESTED: usize = 16;

/// Returns a value's text. CloudFormation compares values by their text.
fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        Value::Bool(truth) => Some(truth.to_string()),
        Value::Null | Value::Sequence(_) | Value::Mapping(_) | Value::Tagged(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEMPLATE: &str = r#"
Parameters:
  Size: { Type: Number, Default: 0 }
  Mode: { Type: String, Default: fast }
  Arn: { Type: String }
Conditions:
  IsSized: !Not [!Equals [!Ref Size, "0"]]
  IsFast: !Equals [!Ref Mode, fast]
  IsEither: !Or [!Condition IsSized, !Condition IsFast]
  IsBoth: !And [!Condition IsSized, !Condition IsFast]
  IsKnown: !Not [!Equals [!Ref Arn, ""]]
  IsItself: !Condition IsItself
Resources:
  R:
    Mode: !Ref Mode
    Arn: !Ref Arn
    Sized: &sized !If [IsSized, 1, !Ref AWS::NoValue]
    Fast: !If [IsFast, [!Ref Size, *sized], 2]
    Either: !If [IsEither, yes-it-is, no-it-is-not]
    Both: !If [IsBoth, yes-it-is, no-it-is-not]
    Known: !If [IsKnown, 1, 2]
    Itself: !If [IsItself, 1, 2]
"#;

    #[test]
    fn the_defaults_are_applied_and_other_values_stay_as_written() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), TEMPLATE).unwrap();
        let template = Template::read(file.path()).unwrap();
        let [("R", resource)] = template.resources().collect::<Vec<_>>()[..] else { panic!("{template:?}") };
        let expected: Value = serde_norway::from_str(
            "{ Mode: fast, Arn: !Ref Arn, Fast: [0], Either: yes-it-is, Both: no-it-is-not,
               Known: !If [IsKnown, 1, 2], Itself: !If [IsItself, 1, 2] }",
        )
        .unwrap();
        assert_eq!(resource, &expected);
    }

    #[test]
    fn only_admins_register_users_by_default() {
        let template = Template::read(&own_path()).unwrap();
        let users = template.resources().find(|(name, _)| *name == "UsersFunction");
        let variable = users.and_then(|(_, users)| {
            users.get("Properties")?.get("Environment")?.get("Variables")?.get("REGISTRATION")?.as_str()
        });
        assert_eq!(variable, Some("closed"));
    }

    #[test]
    fn no_policy_of_the_template_allows_actions_by_a_pattern() {
        let template = Template::read(&own_path()).unwrap();
        let several = |action: &Value| action.as_sequence().cloned().unwrap_or_else(|| vec![action.clone()]);
        let actions: Vec<Value> =
            template.written("Action").into_iter().flat_map(|(_, action)| several(action)).collect();
        let actions: Vec<&str> = actions.iter().filter_map(Value::as_str).collect();
        assert!(actions.contains(&"kafka-cluster:WriteData") && actions.len() > 15, "{actions:?}");
        assert!(actions.iter().all(|action| !action.contains('*')), "{actions:?}");
    }

    #[test]
    fn every_function_but_migrate_waits_for_the_migration() {
        let template = Template::read(&own_path()).unwrap();
        let functions = template.resources().filter(|(_, r)| r["Type"].as_str() == Some("AWS::Serverless::Function"));
        let waits = |function: &Value| {
            // A reference to the migration also makes a function wait for the migration. cfn-lint does not allow a
            // function to have both a reference and `DependsOn`.
            let settings = &function["Properties"]["Environment"]["Variables"]["SETTINGS"];
            let refers =
                matches!(settings, Value::Tagged(tagged) if tagged.value.as_str() == Some("Migration.Settings"));
            refers || function["DependsOn"].as_str() == Some("Migration")
        };
        let eager: Vec<&str> = functions.filter(|(_, function)| !waits(function)).map(|(name, _)| name).collect();
        assert_eq!(eager, ["MigrateFunction"]);
    }

    #[test]
    fn only_migrate_gets_the_secret_of_the_databases_owner() {
        let template = std::fs::read_to_string(own_path()).unwrap();
        let mentions: Vec<&str> =
            template.lines().map(str::trim).filter(|line| line.contains("Ref OwnerSecretArn")).collect();
        // These lines are in the policy of `migrate`, in the environment of `migrate`, and in the resource that invokes
        // `migrate`.
        let expected = [
            "Resource: !Ref OwnerSecretArn",
            "OWNER_SECRET_ARN: !Ref OwnerSecretArn",
            "OwnerSecret: !Ref OwnerSecretArn",
        ];
        assert_eq!(mentions, expected);
        let functions = Template::read(&own_path()).unwrap();
        let have_policy: Vec<&str> = functions
            .resources()
            .filter(|(_, resource)| {
                let policies = resource["Properties"]["Policies"].as_sequence();
                let is_it = |policy: &Value| matches!(policy, Value::Tagged(t) if t.value.as_str() == Some("Migrate"));
                policies.is_some_and(|policies| policies.iter().any(is_it))
            })
            .map(|(name, _)| name)
            .collect();
        assert_eq!(have_policy, ["MigrateFunction"]);
    }

    #[test]
    fn every_alarm_that_sends_a_notification_also_sends_one_when_the_alarm_is_over() {
        let template = Template::read(&own_path()).unwrap();
        let alarms: Vec<(&str, &Value)> =
            template.resources().filter(|(_, r)| r["Type"].as_str() == Some("AWS::CloudWatch::Alarm")).collect();
        assert!(alarms.len() > 10, "{}", alarms.len());
        let written = std::fs::read_to_string(own_path()).unwrap();
        assert_eq!(written.matches("AlarmActions:").count(), written.matches("OKActions:").count());
    }

    #[test]
    fn each_stream_to_which_users_may_post_has_an_alarm_that_fires_when_nothing_lands() {
        let template = Template::read(&own_path()).unwrap();
        let is_watched = |stream: &str| {
            template.resources().any(|(name, alarm)| {
                let description = alarm["Properties"]["AlarmDescription"].as_str().unwrap_or_default();
                name.ends_with("StandsStill") && description.starts_with(&format!("Events of the stream {stream} were"))
            })
        };
        let registry = shared::contract::Registry::load(None).unwrap();
        let unwatched: Vec<&str> = registry
            .contracts()
            .map(|contract| contract.stream.as_str())
            .filter(|stream| !is_watched(stream))
            .collect();
        // No user may post to the stream `login`, so its events never count as accepted, and an alarm about them could
        // not fire.
        assert_eq!(unwatched, ["login"]);
    }
}
