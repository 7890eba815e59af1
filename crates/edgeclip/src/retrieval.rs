//! Ranks and recall: how well pictures find their texts, and texts their pictures.
//!
//! A query is compared with every candidate; the rank of a candidate is the number of others that come before it, so 0 is the nearest.
//! Of equal cosines the candidate with the lower index comes first, so that the numbers depend on nothing but the vectors and their
//! order. Recall@k is the share of queries one of whose right candidates has a rank below k, as in table 13 of the CLIP paper
//! (arXiv:2103.00020); top-k accuracy of zero-shot classification is the same with labels as candidates.

use crate::{Embeddings, Error};

/// Queries whose cosines are in memory at once: a large set's would not all fit.
const QUERIES_A_STEP: usize = 64;

/// How many candidates come before `candidate`, by their cosines to one query.
///
/// # Panics
/// If there is no such candidate.
pub fn rank(cosines: &[f32], candidate: usize) -> usize {
    let own = cosines[candidate];
    cosines.iter().enumerate().filter(|&(i, &cosine)| cosine > own || (cosine == own && i < candidate)).count()
}

/// For each pair of a query and a candidate, by their rows: the rank of that candidate for that query. In the order of the pairs.
///
/// # Errors
/// [`Error::Model`] if queries and candidates differ in length.
///
/// # Panics
/// If a pair names a row that is not there.
pub fn ranks(queries: &Embeddings, candidates: &Embeddings, pairs: &[(usize, usize)]) -> Result<Vec<usize>, Error> {
    let mut order: Vec<usize> = (0..pairs.len()).collect();
    order.sort_by_key(|&pair| pairs[pair].0);
    let mut ranks = vec![0; pairs.len()];
    // All pairs of a query together, and so many queries in a step.
    let same_query: Vec<&[usize]> = order.chunk_by(|&a, &b| pairs[a].0 == pairs[b].0).collect();
    for step in same_query.chunks(QUERIES_A_STEP) {
        let rows: Vec<f32> = step.iter().flat_map(|own| queries.row(pairs[own[0]].0)).copied().collect();
        let cosines = Embeddings::new(queries.dim(), rows).cosines(candidates)?;
        for (i, own) in step.iter().enumerate() {
            let cosines = &cosines[i * candidates.len()..][..candidates.len()];
            own.iter().for_each(|&pair| ranks[pair] = rank(cosines, pairs[pair].1));
        }
    }
    Ok(ranks)
}

/// The best rank that each of `queries` queries has among its pairs; `usize::MAX`, so never found, for one that has none.
///
/// # Panics
/// If a pair's query is not below `queries`.
pub fn best_ranks(queries: usize, pairs: &[(usize, usize)], ranks: &[usize]) -> Vec<usize> {
    let mut best = vec![usize::MAX; queries];
    for (&(query, _), &rank) in pairs.iter().zip(ranks) {
        best[query] = best[query].min(rank);
    }
    best
}

/// The share of ranks below `k`, 0 to 1: recall@k of the queries' best ranks, or top-k accuracy. 0 of none.
pub fn recall_at(k: usize, ranks: &[usize]) -> f64 {
    ranks.iter().filter(|&&rank| rank < k).count() as f64 / ranks.len().max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_equal_cosines_the_earlier_comes_first() {
        assert_eq!([0, 1, 2, 3].map(|candidate| rank(&[0.5, 0.9, 0.5, 0.1], candidate)), [1, 0, 2, 3]);
        assert_eq!([0, 1, 2].map(|candidate| rank(&[0.0; 3], candidate)), [0, 1, 2]);
    }

    /// Directions on the circle; candidates 1 and 3 are the same one at different lengths.
    #[test]
    fn ranks_are_of_directions_in_the_order_of_the_pairs() {
        let queries = Embeddings::new(2, vec![1.0, 0.0, 0.0, 2.0]);
        let candidates = Embeddings::new(2, vec![0.0, 5.0, 3.0, 3.0, 4.0, 0.0, 1.0, 1.0, -1.0, 0.0]);
        // To query 0: 0, 0.71, 1, 0.71, -1; to query 1: 1, 0.71, 0, 0.71, 0.
        let pairs = [(1, 3), (0, 2), (0, 4), (1, 0), (0, 0), (0, 3), (0, 1), (1, 4), (1, 2)];
        let ranks = ranks(&queries, &candidates, &pairs).unwrap();
        assert_eq!(ranks, [2, 0, 4, 0, 3, 2, 1, 4, 3]);
        assert_eq!(best_ranks(3, &pairs, &ranks), [0, 0, usize::MAX]);
        assert_eq!(best_ranks(2, &pairs[..1], &ranks[..1]), [usize::MAX, 2]);
    }

    /// Each finds itself, also beyond the first step.
    #[test]
    fn many_queries() {
        let n = 2 * QUERIES_A_STEP + 3;
        let angles = (0..n).map(|i| i as f32 / n as f32);
        let all = Embeddings::new(2, angles.flat_map(|angle| [angle.cos(), angle.sin()]).collect());
        let pairs: Vec<(usize, usize)> = (0..n).rev().map(|i| (i, i)).collect();
        assert_eq!(ranks(&all, &all, &pairs).unwrap(), vec![0; n]);
        assert_eq!(ranks(&all, &all, &[]).unwrap(), [0; 0]);
        // The nearest end of the arc is first, the other end last.
        assert_eq!(ranks(&all, &all, &[(0, n - 1), (n - 1, 0)]).unwrap(), [n - 1; 2]);
        assert!(ranks(&all, &Embeddings::new(3, vec![1.0; 3]), &[(0, 0)]).is_err());
    }

    #[test]
    fn recall_counts_ranks_below_k() {
        assert_eq!([1, 5, 10].map(|k| recall_at(k, &[0, 4, 5, usize::MAX])), [0.25, 0.5, 0.75]);
        assert_eq!(recall_at(1, &[]), 0.0);
    }
}
