//! Translates the template with AWS's translator. Compares the translated routes and functions with the template, and
//! the translated schedules and mappings with those that `local` reads from the template.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use local::event_source_mapping::configuration;
use local::scheduler;
use local::template::{self, Template};
use serde_json::Value;

/// The exit code of `translate.py` if the translator is not installed.
const NOT_INSTALLED: i32 = 3;

/// The translated template, from which CloudFormation creates the resources.
struct Translated(Value);

impl Translated {
    /// Translates the template. Returns `None` if AWS's translator is not installed.
    fn read() -> Option<Self> {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/gateway/translate.py");
        let output = Command::new(python()).arg(script).arg(template::own_path()).output().ok()?;
        if output.status.code() == Some(NOT_INSTALLED) {
            return None;
        }
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        Some(Self(serde_json::from_slice(&output.stdout).unwrap()))
    }

    fn of_type(&self, name: &str) -> impl Iterator<Item = (&str, &Value)> {
        let resources = self.0["Resources"].as_object().unwrap();
        resources
            .iter()
            .filter(move |(_, resource)| resource["Type"] == name)
            .map(|(name, value)| (name.as_str(), value))
    }

    /// Returns the method, the path and the function's name of each API Gateway route.
    fn routes(&self) -> BTreeSet<(String, String, String)> {
        let [(_, api)] = self.of_type("AWS::ApiGatewayV2::Api").collect::<Vec<_>>()[..] else { panic!("not one API") };
        let mut routes = BTreeSet::new();
        for (path, methods) in api["Properties"]["Body"]["paths"].as_object().unwrap() {
            for (method, route) in methods.as_object().unwrap() {
                let integration = &route["x-amazon-apigateway-integration"];
                assert_eq!(integration["payloadFormatVersion"], "2.0", "{path}");
                let uri = integration["uri"]["Fn::Sub"].as_str().unwrap();
                routes.insert((method.clone(), path.clone(), self.function(uri)));
            }
        }
        routes
    }

    /// Returns the name of the function to which an address leads, directly or through an alias.
    fn function(&self, address: &str) -> String {
        let (_, name) = address.rsplit_once("/functions/${").unwrap();
        let (name, _) = name.split_once('}').unwrap();
        match name.strip_suffix(".Arn") {
            Some(function) => function.to_owned(),
            None => self.0["Resources"][name]["Properties"]["FunctionName"]["Ref"].as_str().unwrap().to_owned(),
        }
    }
}

/// Returns the Python interpreter of the tools folder, into which `local/test` installs the translator. Without that
/// folder, returns `python3`.
fn python() -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../target"), PathBuf::from);
    let installed = target.join("tools/python/bin/python");
    if installed.exists() { installed } else { PathBuf::from("python3") }
}

/// Returns the routes that the template declares, with the names of their functions.
fn written_routes(template: &Template) -> BTreeSet<(String, String, String)> {
    let mut routes = BTreeSet::new();
    for (function, resource) in template.resources() {
        for event in resource["Properties"]["Events"].as_mapping().into_iter().flat_map(|events| events.values()) {
            if event["Type"].as_str() != Some("HttpApi") {
                continue;
            }
            let (method, path) = match (event["Properties"]["Method"].as_str(), event["Properties"]["Path"].as_str()) {
                (Some(method), Some(path)) => (method.to_ascii_lowercase(), path.to_owned()),
                _ => ("x-amazon-apigateway-any-method".to_owned(), "$default".to_owned()),
            };
            routes.insert((method, path, function.to_owned()));
        }
    }
    routes
}

#[test]
fn the_api_has_only_the_default_stage_so_its_address_names_no_stage() {
    let template = Template::read(&template::own_path()).unwrap();
    let (_, api) = template.resources().find(|(name, _)| *name == "HttpApi").unwrap();
    assert!(api["Properties"]["StageName"].is_null() && api["Properties"]["Domain"].is_null(), "{api:?}");
    let Some(translated) = Translated::read() else { return };
    let stages: Vec<&Value> =
        translated.of_type("AWS::ApiGatewayV2::Stage").map(|(_, stage)| &stage["Properties"]["StageName"]).collect();
    assert_eq!(stages, ["$default"]);
    assert_eq!(translated.of_type("AWS::ApiGatewayV2::ApiMapping").count(), 0);
    let address = &translated.0["Outputs"]["Address"]["Value"]["Fn::Sub"];
    assert_eq!(address, "https://${HttpApi}.execute-api.${AWS::Region}.${AWS::URLSuffix}");
}

#[test]
fn what_aws_creates_from_the_template_equals_what_the_template_and_local_say() {
    let Some(translated) = Translated::read() else {
        // A passing test hides the output of `eprintln!`, but not what is written to `stderr` directly.
        let _shown = writeln!(std::io::stderr(), "translated: skipped, because aws-sam-translator is not installed");
        return;
    };
    let path = template::own_path();
    let template = Template::read(&path).unwrap();
    let routes = translated.routes();
    assert_eq!(routes, written_routes(&template));

    let functions: BTreeSet<&str> = translated.of_type("AWS::Lambda::Function").map(|(name, _)| name).collect();
    let is_function = |resource: &serde_norway::Value| resource["Type"].as_str() == Some("AWS::Serverless::Function");
    let written = template.resources().filter(|(_, resource)| is_function(resource));
    assert_eq!(functions, written.map(|(name, _)| name).collect());
    let binary = |function: &str| {
        let (_, resource) = template.resources().find(|(name, _)| *name == function).unwrap();
        resource["Metadata"]["BuildProperties"]["Binary"].as_str().unwrap().to_owned()
    };

    // Each route needs a permission for API Gateway, and each schedule needs a permission for EventBridge.
    let schedules: BTreeSet<(String, String)> = translated
        .of_type("AWS::Events::Rule")
        .map(|(name, rule)| {
            let function = rule["Properties"]["Targets"][0]["Arn"]["Fn::GetAtt"][0].as_str().unwrap();
            (binary(function), name.strip_prefix(function).unwrap().to_owned())
        })
        .collect();
    let here = scheduler::read_template(&path).unwrap();
    assert_eq!(schedules, here.into_iter().map(|schedule| (schedule.function, schedule.name)).collect());
    let permissions = translated.of_type("AWS::Lambda::Permission").count();
    assert_eq!(permissions, routes.len() + schedules.len());

    let mappings: BTreeMap<String, (u64, String)> = translated
        .of_type("AWS::Lambda::EventSourceMapping")
        .map(|(_, mapping)| {
            let properties = &mapping["Properties"];
            let config = &properties["AmazonManagedKafkaEventSourceConfig"]["Fn::If"][1];
            let topic = properties["Topics"][0].as_str().unwrap().to_owned();
            assert_eq!(properties["FunctionName"]["Ref"], "ConsumeFunction");
            (topic, (properties["BatchSize"].as_u64().unwrap(), config["ConsumerGroupId"].as_str().unwrap().to_owned()))
        })
        .collect();
    let here = configuration::read(&path).unwrap().into_iter();
    let here = here.map(|mapping| (mapping.topics[0].clone(), (mapping.batch_size as u64, mapping.group)));
    assert_eq!(mappings, here.collect());
    eprintln!("{} routes, {} functions, {} mappings", routes.len(), functions.len(), mappings.len());
}
