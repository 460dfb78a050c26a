//! A directed graph, and the cycles in it.

use std::collections::{BTreeMap, BTreeSet};

/// Each node with its direct successors.
pub(crate) type Graph = BTreeMap<String, BTreeSet<String>>;

/// Returns the groups of nodes in which every node can be reached from every other node.
pub(crate) fn cycles(graph: &Graph) -> Vec<Vec<String>> {
    let reach: BTreeMap<&String, BTreeSet<&String>> = graph.keys().map(|node| (node, reachable(graph, node))).collect();
    let group = |node: &String| -> Vec<String> {
        let both_ways = reach[node].iter().filter(|other| reach.get(**other).is_some_and(|back| back.contains(node)));
        both_ways.map(|other| (*other).clone()).collect()
    };
    let groups: BTreeSet<Vec<String>> = graph.keys().map(group).filter(|group| !group.is_empty()).collect();
    groups.into_iter().collect()
}

/// Returns the edges whose target does not come before their source in `order`.
pub(crate) fn against_order(graph: &Graph, order: &[String]) -> Vec<(String, String)> {
    let position = |node: &String| order.iter().position(|other| other == node);
    let edges = graph.iter().flat_map(|(from, to)| to.iter().map(move |to| (from, to)));
    let against = edges.filter(|(from, to)| position(to).is_none_or(|to| Some(to) >= position(from)));
    against.map(|(from, to)| (from.clone(), to.clone())).collect()
}

fn reachable<'g>(graph: &'g Graph, from: &'g String) -> BTreeSet<&'g String> {
    let (mut seen, mut open) = (BTreeSet::new(), vec![from]);
    while let Some(next) = open.pop() {
        open.extend(graph.get(next).into_iter().flatten().filter(|other| seen.insert(*other)));
    }
    seen
}
