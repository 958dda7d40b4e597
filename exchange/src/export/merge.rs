//! Several stores become one: rows that stand for the same thing are one row, ids stay where they are free.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::mlmd::{
    ArtifactRow, ContextRow, EventRow, ExecutionRow, LinkRow, MlmdStore, Property, TypeKind, TypeRow, Value,
};

/// Which ids new rows get.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Numbering {
    /// Those they have, as far as they are free.
    Keep,
    /// The next ones.
    Anew,
}

/// What a row is called in the whole, by what it is called in a part.
#[derive(Clone, Debug, Default)]
pub(super) struct IdMap {
    pub artifacts: BTreeMap<i64, i64>,
    pub executions: BTreeMap<i64, i64>,
    pub contexts: BTreeMap<i64, i64>,
    /// Ids in the whole of artifacts that were not there before.
    pub new_artifacts: BTreeSet<i64>,
}

/// Ids in use of one table.
#[derive(Debug, Default)]
struct Ids(BTreeSet<i64>);

impl Ids {
    fn take(&mut self, wanted: i64, numbering: Numbering) -> i64 {
        let next = self.0.last().map_or(1, |last| last + 1);
        let id = if numbering == Numbering::Keep && wanted > 0 && !self.0.contains(&wanted) { wanted } else { next };
        self.0.insert(id);
        id
    }
}

/// What identifies a type in all stores: kind, name, version.
type TypeKey = (TypeKind, String, Option<String>);
/// What identifies an artifact in all stores: type, name, uri.
type ArtifactKey = (i64, String, Option<String>);

/// A store that grows.
#[derive(Debug)]
pub(super) struct Merger {
    pub whole: MlmdStore,
    types: HashMap<TypeKey, i64>,
    /// Places in `whole`.
    artifacts: HashMap<ArtifactKey, usize>,
    contexts: HashMap<(i64, String), usize>,
    /// Names that are taken, as ML Metadata wants them unique within a type.
    names: BTreeSet<(TypeKind, i64, String)>,
    external: BTreeSet<(TypeKind, String)>,
    edges: BTreeSet<(u8, i64, i64, i64)>,
    type_ids: Ids,
    artifact_ids: Ids,
    execution_ids: Ids,
    context_ids: Ids,
    event_ids: Ids,
    association_ids: Ids,
    attribution_ids: Ids,
    /// What had to be changed, in words.
    pub notes: Vec<String>,
}

impl Merger {
    /// A store with the built-in types.
    pub fn new() -> Self {
        let whole = MlmdStore::with_built_in_types();
        let key = |row: &TypeRow| ((row.kind, row.name.clone(), row.version.clone()), row.id);
        Self {
            types: whole.types.iter().map(key).collect(),
            type_ids: Ids(whole.types.iter().map(|row| row.id).collect()),
            whole,
            artifacts: HashMap::new(),
            contexts: HashMap::new(),
            names: BTreeSet::new(),
            external: BTreeSet::new(),
            edges: BTreeSet::new(),
            artifact_ids: Ids::default(),
            execution_ids: Ids::default(),
            context_ids: Ids::default(),
            event_ids: Ids::default(),
            association_ids: Ids::default(),
            attribution_ids: Ids::default(),
            notes: Vec::new(),
        }
    }

    /// Whether there is an artifact of this type, name and uri.
    pub fn has_artifact(&self, type_name: &str, row: &ArtifactRow) -> bool {
        let (Some(name), Some(type_id)) =
            (&row.name, self.types.get(&(TypeKind::Artifact, type_name.to_owned(), None)))
        else {
            return false;
        };
        self.artifacts.contains_key(&(*type_id, name.clone(), row.uri.clone()))
    }

    /// Whether there is a context of this type and name.
    pub fn has_context(&self, type_name: &str, row: &ContextRow) -> bool {
        let type_id = self.types.get(&(TypeKind::Context, type_name.to_owned(), None));
        type_id.is_some_and(|id| self.contexts.contains_key(&(*id, row.name.clone())))
    }

    /// Adds a part. Of rows that are there already, `changes` of properties count where it is true; else only what is missing is
    /// added.
    pub fn add(&mut self, part: &MlmdStore, numbering: Numbering, changes: bool) -> IdMap {
        let mut ids = IdMap::default();
        let types = self.add_types(part, numbering);
        let type_of = |id: i64| types.get(&id).copied().unwrap_or(id);
        for row in &part.contexts {
            let id = self.add_context(row, type_of(row.type_id), numbering, changes);
            ids.contexts.insert(row.id, id);
        }
        for row in &part.executions {
            let id = self.execution_ids.take(row.id, numbering);
            let type_id = type_of(row.type_id);
            let name = self.free_name(TypeKind::Execution, type_id, row.name.clone(), id);
            let external_id = self.free_external(TypeKind::Execution, row.external_id.clone(), id);
            self.whole.executions.push(ExecutionRow { id, type_id, name, external_id, ..row.clone() });
            ids.executions.insert(row.id, id);
        }
        for row in &part.artifacts {
            let before = self.whole.artifacts.len();
            let id = self.add_artifact(row, type_of(row.type_id), numbering, changes);
            if self.whole.artifacts.len() > before {
                ids.new_artifacts.insert(id);
            }
            ids.artifacts.insert(row.id, id);
        }
        self.add_edges(part, &ids, numbering);
        if numbering == Numbering::Keep {
            for (table, given) in &part.sequences {
                let known = self.whole.sequences.entry(table.clone()).or_default();
                *known = (*known).max(*given);
            }
        }
        ids
    }

    fn add_types(&mut self, part: &MlmdStore, numbering: Numbering) -> BTreeMap<i64, i64> {
        let mut types = BTreeMap::new();
        for row in &part.types {
            let key = (row.kind, row.name.clone(), row.version.clone());
            let id = match self.types.get(&key) {
                Some(id) => *id,
                None => {
                    let id = self.type_ids.take(row.id, numbering);
                    let external_id = self.free_external(row.kind, row.external_id.clone(), id);
                    self.whole.types.push(TypeRow { id, external_id, properties: Vec::new(), ..row.clone() });
                    self.types.insert(key, id);
                    id
                }
            };
            if let Some(known) = self.whole.types.iter_mut().find(|known| known.id == id) {
                for property in &row.properties {
                    if !known.properties.iter().any(|(name, _)| *name == property.0) {
                        known.properties.push(property.clone());
                    }
                }
            }
            types.insert(row.id, id);
        }
        for (child, parent) in &part.parent_types {
            let pair = (types.get(child).copied().unwrap_or(*child), types.get(parent).copied().unwrap_or(*parent));
            if !self.whole.parent_types.contains(&pair) {
                self.whole.parent_types.push(pair);
            }
        }
        types
    }

    fn add_context(&mut self, row: &ContextRow, type_id: i64, numbering: Numbering, changes: bool) -> i64 {
        let key = (type_id, row.name.clone());
        if let Some(place) = self.contexts.get(&key) {
            let known = &mut self.whole.contexts[*place];
            update(&mut known.properties, &row.properties, changes);
            return known.id;
        }
        let id = self.context_ids.take(row.id, numbering);
        let external_id = self.free_external(TypeKind::Context, row.external_id.clone(), id);
        self.contexts.insert(key, self.whole.contexts.len());
        self.whole.contexts.push(ContextRow { id, type_id, external_id, ..row.clone() });
        id
    }

    fn add_artifact(&mut self, row: &ArtifactRow, type_id: i64, numbering: Numbering, changes: bool) -> i64 {
        let key = row.name.clone().map(|name| (type_id, name, row.uri.clone()));
        if let Some(place) = key.as_ref().and_then(|key| self.artifacts.get(key)) {
            let known = &mut self.whole.artifacts[*place];
            update(&mut known.properties, &row.properties, changes);
            return known.id;
        }
        let id = self.artifact_ids.take(row.id, numbering);
        let name = self.free_name(TypeKind::Artifact, type_id, row.name.clone(), id);
        let external_id = self.free_external(TypeKind::Artifact, row.external_id.clone(), id);
        self.artifacts.extend(key.map(|key| (key, self.whole.artifacts.len())));
        self.whole.artifacts.push(ArtifactRow { id, type_id, name, external_id, ..row.clone() });
        id
    }

    /// Within a type, ML Metadata wants each name once.
    fn free_name(&mut self, kind: TypeKind, type_id: i64, name: Option<String>, id: i64) -> Option<String> {
        let name = name?;
        if self.names.insert((kind, type_id, name.clone())) {
            return Some(name);
        }
        let other = format!("{name}#{id}");
        self.notes.push(format!("{name:?} is the name of two {kind:?} rows; one of them is called {other:?}"));
        self.names.insert((kind, type_id, other.clone()));
        Some(other)
    }

    fn free_external(&mut self, kind: TypeKind, external_id: Option<String>, id: i64) -> Option<String> {
        let external_id = external_id?;
        if self.external.insert((kind, external_id.clone())) {
            return Some(external_id);
        }
        self.notes.push(format!("the external id {external_id:?} is in use; row {id} goes without"));
        None
    }

    fn add_edges(&mut self, part: &MlmdStore, ids: &IdMap, numbering: Numbering) {
        for row in &part.events {
            let (Some(artifact), Some(execution)) =
                (ids.artifacts.get(&row.artifact_id), ids.executions.get(&row.execution_id))
            else {
                continue;
            };
            if self.edges.insert((row.kind as u8, *artifact, *execution, row.kind)) {
                let id = self.event_ids.take(row.id, numbering);
                let (artifact_id, execution_id) = (*artifact, *execution);
                self.whole.events.push(EventRow { id, artifact_id, execution_id, ..row.clone() });
            }
        }
        for (child, parent) in &part.parent_contexts {
            if let (Some(child), Some(parent)) = (ids.contexts.get(child), ids.contexts.get(parent))
                && self.edges.insert((u8::MAX, *child, *parent, 0))
            {
                self.whole.parent_contexts.push((*child, *parent));
            }
        }
        let links =
            [(u8::MAX - 1, &part.associations, &ids.executions), (u8::MAX - 2, &part.attributions, &ids.artifacts)];
        for (kind, rows, members) in links {
            for row in rows {
                let (Some(context), Some(member)) = (ids.contexts.get(&row.context_id), members.get(&row.member_id))
                else {
                    continue;
                };
                if !self.edges.insert((kind, *context, *member, 0)) {
                    continue;
                }
                let (table, ids) = if kind == u8::MAX - 1 {
                    (&mut self.whole.associations, &mut self.association_ids)
                } else {
                    (&mut self.whole.attributions, &mut self.attribution_ids)
                };
                let id = ids.take(row.id, numbering);
                table.push(LinkRow { id, context_id: *context, member_id: *member });
            }
        }
    }
}

/// Adds what is missing to `known`; with `changes`, values that were changed since count too.
fn update(known: &mut Vec<Property>, said: &[Property], changes: bool) {
    for property in said {
        let same = |known: &&mut Property| known.is_custom == property.is_custom && known.name == property.name;
        match known.iter_mut().find(same) {
            None => known.push(property.clone()),
            Some(known) if changes && !is_same(&known.value, &property.value) => known.value = property.value.clone(),
            Some(_) => {}
        }
    }
}

/// Whether the catalog's value is what it makes of the source's: it writes booleans as integers, and infinities as text.
fn is_same(source: &Value, catalog: &Value) -> bool {
    match (source, catalog) {
        (Value::Bool(source), Value::Int(catalog)) => i64::from(*source) == *catalog,
        (Value::Double(source), Value::Text(catalog)) => source.to_string() == *catalog,
        (source, catalog) => source == catalog,
    }
}
