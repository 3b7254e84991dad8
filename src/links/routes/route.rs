//! A route, ready to match requests.

use crate::{
    invalid_value::InvalidValue,
    links::routes::{
        code_template::{CodeTemplate, Translation},
        mismatch::RouteMismatch,
        path_pattern::{PathPattern, PatternRest},
        request_values::RequestValues,
        settings::RouteSettings,
        shadowing::ShadowingCodes,
        sub_ids::{SUB_COUNT, SubIds},
        value_source::ValueSource,
    },
    model::{click::MAX_ROUTE_LEN, code::Code},
};

/// The shape of an old URL: which code and which sub ids it stands for.
#[derive(Clone, Debug)]
pub struct Route {
    name: Box<str>,
    path: PathPattern,
    code: CodeTemplate,
    subs: SubIds,
    shadowing: ShadowingCodes,
}

/// What a request of a route's shape stands for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteMatch {
    /// The code. No link needs to have it.
    pub code: Code,
    /// `sub1` to `sub5`, decoded; empty where the request has none.
    pub subs: [Vec<u8>; SUB_COUNT],
}

/// The paths that the server answers itself on every host (`edge::target`).
const FIXED_PATHS: [&str; 2] = ["/robots.txt", "/favicon.ico"];

impl Route {
    /// Checks the settings of a route and prepares them.
    ///
    /// # Errors
    /// Every error, with its key.
    pub(super) fn compile(settings: &RouteSettings) -> Result<Route, Vec<InvalidValue>> {
        let mut errors = Vec::new();
        let mut take = |key: &str, error: String| errors.push(InvalidValue::new(key, error));
        let name = check_name(&settings.name).map_err(|error| take("name", error));
        let pairs = parse_pair_separator(settings).map_err(|error| take("pairs", error));
        let separator = pairs.as_ref().ok().copied().flatten();
        let path = parse_path(&settings.path, separator).map_err(|error| take("path", error));
        let translation = Translation::parse(&settings.translate).map_err(|error| take("translate", error));
        let code = match settings.code.as_str() {
            "" => {
                Err("is missing; write the code with the values it is made of, such as {query:offer}-{query:id}".into())
            }
            text => CodeTemplate::parse(text, translation.clone().unwrap_or_default()),
        }
        .map_err(|error| take("code", error));
        let subs = SubIds::parse(&settings.sub, settings.split.as_deref()).map_err(|error| take("sub", error));
        if let Err(error) = check_split(settings) {
            take("split", error);
        }
        let (Ok(name), Ok(path), Ok(code), Ok(subs), Ok(_), Ok(_)) = (name, path, code, subs, pairs, translation)
        else {
            return Err(errors);
        };
        let route = Route { name, shadowing: ShadowingCodes::of_path(&path), path, code, subs };
        errors.extend(route.list_contradictions());
        if errors.is_empty() { Ok(route) } else { Err(errors) }
    }

    /// What is valid alone and does not fit together.
    fn list_contradictions(&self) -> Vec<InvalidValue> {
        let mut errors = Vec::new();
        if self.shadowing == ShadowingCodes::All {
            let message = "looks like a code, so that links would take these requests before the route is tried; put a \
                           segment of text in front, or make the links' codes what stands there";
            errors.push(InvalidValue::new("path", message));
        }
        if let Some(joiner) = self.code.find_joiner_made_by_translation() {
            let message = format!("makes {joiner:?}, which stands between two values of the code; choose another one");
            errors.push(InvalidValue::new("translate", message));
        }
        let has_pairs = matches!(self.path.rest, Some(PatternRest::Pairs(_)));
        let missing = |source: &ValueSource| match source {
            ValueSource::PathSegment(name) if !self.path.has_variable(name) => {
                Some(format!("has path:{name}, but the path has no segment {{{name}}}"))
            }
            ValueSource::PathPair(name) if !has_pairs => Some(format!("has pair:{name}, but the route has no `pairs`")),
            _ => None,
        };
        errors.extend(self.code.sources().filter_map(missing).map(|message| InvalidValue::new("code", message)));
        errors.extend(self.subs.sources().iter().filter_map(missing).map(|message| InvalidValue::new("sub", message)));
        errors
    }

    /// The route's name, which the events of its clicks have.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Reads a request by this route. `path` starts with a slash, `query` is given without `?`; both are still encoded.
    ///
    /// # Errors
    /// Why the request has not the route's shape.
    pub fn try_match(&self, path: &[u8], query: &[u8]) -> Result<RouteMatch, RouteMismatch> {
        let path = self.path.match_and_decode(path).ok_or(RouteMismatch::Path)?;
        let values = RequestValues { path, query };
        let code = self.code.build_code(&values)?;
        Ok(RouteMatch { code, subs: self.subs.read(&values) })
    }
}

/// The routes of one domain, in the order of the configuration.
#[derive(Clone, Debug, Default)]
pub struct Routes(Box<[Route]>);

impl Routes {
    /// Prepares the routes of a domain.
    ///
    /// # Errors
    /// The first error of the settings; [`Config::list_invalid_values`](super::Config::list_invalid_values) lists all.
    pub(in crate::links) fn compile(settings: &[RouteSettings]) -> Result<Routes, String> {
        let compile = |settings: &RouteSettings| {
            let first = |errors: Vec<InvalidValue>| errors.into_iter().next();
            Route::compile(settings).map_err(|errors| match first(errors) {
                Some(error) => format!("route {:?}: {} {}", settings.name, error.key, error.message),
                None => format!("route {:?} is invalid", settings.name),
            })
        };
        settings.iter().map(compile).collect::<Result<Vec<Route>, String>>().map(|routes| Routes(routes.into()))
    }

    /// Every route, in the order in which routes are tried.
    pub fn all(&self) -> &[Route] {
        &self.0
    }

    /// The first route whose shape a request has.
    pub fn find_match(&self, path: &[u8], query: &[u8]) -> Option<(&Route, RouteMatch)> {
        self.0.iter().find_map(|route| Some((route, route.try_match(path, query).ok()?)))
    }

    /// The route whose requests the link of this code would take.
    pub(in crate::links) fn find_shadowed_by(&self, code: &[u8], ignores_case: bool) -> Option<&Route> {
        self.0.iter().find(|route| route.shadowing.contains(code, ignores_case))
    }
}

fn check_name(name: &str) -> Result<Box<str>, String> {
    let is_name_byte = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    if name.is_empty() {
        return Err("is missing; the events of the route's clicks have it".to_owned());
    }
    if name.len() > MAX_ROUTE_LEN || !name.bytes().all(is_name_byte) {
        return Err(format!("is {name:?}; allowed are 1 to {MAX_ROUTE_LEN} letters, digits, '-' and '_'"));
    }
    Ok(name.into())
}

fn parse_path(path: &str, pair_separator: Option<u8>) -> Result<PathPattern, String> {
    if path.is_empty() {
        return Err("is missing; write the path of the old URLs, such as /c/{partner}/{offer}".to_owned());
    }
    let trimmed = path.strip_suffix('/').unwrap_or(path);
    if FIXED_PATHS.contains(&trimmed) || trimmed.starts_with("/.well-known") {
        return Err(format!("is {path:?}, which the server answers itself on every host"));
    }
    PathPattern::parse(path, pair_separator)
}

/// The character of `pairs`, if it is set.
fn parse_pair_separator(settings: &RouteSettings) -> Result<Option<u8>, String> {
    let Some(text) = settings.pairs.as_deref() else { return Ok(None) };
    match text.as_bytes() {
        [byte] if byte.is_ascii_graphic() && *byte != b'/' => {}
        _ => return Err(format!("is {text:?}; allowed is the one character between name and value, such as \":\"")),
    }
    if !settings.path.ends_with("/**") {
        return Err("needs a path that ends with /**, which stands for the pairs".to_owned());
    }
    Ok(text.bytes().next())
}

fn check_split(settings: &RouteSettings) -> Result<(), String> {
    match (settings.split.as_deref(), settings.sub.len()) {
        (None, _) => Ok(()),
        (Some(""), _) => Err("is empty; write what stands between two sub ids, such as \",\"".to_owned()),
        (Some(_), 1) => Ok(()),
        (Some(_), count) => Err(format!("divides one source into sub ids, and `sub` has {count}; give it one")),
    }
}
