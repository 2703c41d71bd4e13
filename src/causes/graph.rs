//! Who waits for whom: told by the case, seen in traces, or, where neither says anything, read from whom a component's
//! bad news mention. Also which replicas share a service, and which components share a machine.

use std::collections::{BTreeMap, BTreeSet};

use crate::case::ComponentId;
use crate::checked::Checked;
use crate::logs::Logged;
use crate::traces::Traced;

/// The graph between services.
pub(crate) struct Graph {
    callees: BTreeMap<ComponentId, BTreeSet<ComponentId>>,
    callers: BTreeMap<ComponentId, BTreeSet<ComponentId>>,
    /// Components by machine.
    pub nodes: BTreeMap<String, BTreeSet<ComponentId>>,
}

impl Graph {
    /// Puts together what is known.
    pub(crate) fn of(clean: &Checked<'_>, traced: &Traced, logged: &Logged) -> Self {
        let known = clean.case.components.len() as u32;
        let told = clean.case.calls.iter().map(|call| (call.caller, call.callee));
        let mut edges: BTreeSet<(ComponentId, ComponentId)> = told
            .filter(|(caller, callee)| caller.0 < known && callee.0 < known)
            .chain(traced.calls.keys().copied())
            .map(|(caller, callee)| (clean.service(caller), clean.service(callee)))
            .collect();
        for (from, to) in &logged.mentions {
            let (from, to) = (clean.service(*from), clean.service(*to));
            // A mention says that one waits for the other; which way is known better from calls.
            if !edges.contains(&(to, from)) {
                edges.insert((from, to));
            }
        }
        let mut graph = Self { callees: BTreeMap::new(), callers: BTreeMap::new(), nodes: BTreeMap::new() };
        for (caller, callee) in edges.into_iter().filter(|(caller, callee)| caller != callee) {
            graph.callees.entry(caller).or_default().insert(callee);
            graph.callers.entry(callee).or_default().insert(caller);
        }
        for (index, component) in clean.case.components.iter().enumerate() {
            if let Some(node) = component.node.as_ref().filter(|node| !node.is_empty()) {
                graph.nodes.entry(node.clone()).or_default().insert(ComponentId(index as u32));
            }
        }
        graph
    }

    /// Whom it calls.
    pub(crate) fn callees(&self, id: ComponentId) -> impl Iterator<Item = ComponentId> + '_ {
        self.callees.get(&id).into_iter().flatten().copied()
    }

    /// Who calls it.
    pub(crate) fn callers(&self, id: ComponentId) -> impl Iterator<Item = ComponentId> + '_ {
        self.callers.get(&id).into_iter().flatten().copied()
    }

    /// Everything that can be reached from it by calls, itself included, with the number of calls.
    pub(crate) fn below(&self, id: ComponentId) -> BTreeMap<ComponentId, u32> {
        Self::reach(id, &self.callees)
    }

    /// Everything that waits for it, itself included, with the number of calls.
    pub(crate) fn above(&self, id: ComponentId) -> BTreeMap<ComponentId, u32> {
        Self::reach(id, &self.callers)
    }

    fn reach(id: ComponentId, edges: &BTreeMap<ComponentId, BTreeSet<ComponentId>>) -> BTreeMap<ComponentId, u32> {
        let mut found = BTreeMap::from([(id, 0)]);
        let mut now = vec![id];
        let mut steps = 0;
        while !now.is_empty() {
            steps += 1;
            let next: BTreeSet<ComponentId> =
                now.iter().flat_map(|one| edges.get(one).into_iter().flatten().copied()).collect();
            now = next.into_iter().filter(|one| !found.contains_key(one)).collect();
            found.extend(now.iter().map(|one| (*one, steps)));
        }
        found
    }

    /// True when nothing is known of its calls.
    pub(crate) fn is_alone(&self, id: ComponentId) -> bool {
        !self.callees.contains_key(&id) && !self.callers.contains_key(&id)
    }
}
