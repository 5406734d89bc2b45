//! A table that numbers what is put into it and never gives a number twice.

/// Rows on one page. A page is given back when all its rows are gone.
const PAGE: usize = 128;

/// Rows of `T` by number, in pages: growing moves nothing, and holes of whole pages cost next to nothing.
#[derive(Debug)]
pub(super) struct Table<T> {
    pages: Vec<Vec<Option<T>>>,
    next: u32,
    len: usize,
}

impl<T> Default for Table<T> {
    fn default() -> Self {
        Self { pages: Vec::new(), next: 0, len: 0 }
    }
}

impl<T> Table<T> {
    /// Rows that are there.
    pub fn len(&self) -> usize {
        self.len
    }

    /// The number that the next row gets.
    pub fn next_id(&self) -> u32 {
        self.next
    }

    pub fn get(&self, id: u32) -> Option<&T> {
        self.pages.get(id as usize / PAGE)?.get(id as usize % PAGE)?.as_ref()
    }

    pub fn get_mut(&mut self, id: u32) -> Option<&mut T> {
        self.pages.get_mut(id as usize / PAGE)?.get_mut(id as usize % PAGE)?.as_mut()
    }

    pub fn push(&mut self, row: T) -> u32 {
        let id = self.next;
        self.put(id, row);
        id
    }

    /// Puts a row at a number of the caller's, at or above [`Table::next_id`].
    pub fn put(&mut self, id: u32, row: T) {
        let page = id as usize / PAGE;
        if page >= self.pages.len() {
            self.pages.resize_with(page + 1, Vec::new);
        }
        let page = &mut self.pages[page];
        if page.capacity() == 0 {
            page.reserve_exact(if id < PAGE as u32 / 4 { PAGE / 4 } else { PAGE });
        }
        while page.len() <= id as usize % PAGE {
            page.push(None);
        }
        page[id as usize % PAGE] = Some(row);
        self.len += 1;
        self.next = self.next.max(id.saturating_add(1));
    }

    /// Makes numbers below `next` unavailable.
    pub fn skip_to(&mut self, next: u32) {
        self.next = self.next.max(next);
    }

    pub fn remove(&mut self, id: u32) -> Option<T> {
        let page = self.pages.get_mut(id as usize / PAGE)?;
        let row = page.get_mut(id as usize % PAGE)?.take()?;
        self.len -= 1;
        if page.iter().all(Option::is_none) {
            *page = Vec::new();
        }
        Some(row)
    }

    pub fn iter(&self) -> impl Iterator<Item = (u32, &T)> {
        self.iter_from(0)
    }

    pub fn iter_mut(&mut self) -> impl Iterator<Item = (u32, &mut T)> {
        self.pages.iter_mut().enumerate().flat_map(|(p, page)| {
            page.iter_mut()
                .enumerate()
                .filter_map(move |(i, row)| Some(((p * PAGE + i) as u32, row.as_mut()?)))
        })
    }

    /// The rows from a number on.
    pub fn iter_from(&self, id: u32) -> impl Iterator<Item = (u32, &T)> {
        let first = id as usize / PAGE;
        self.pages.iter().enumerate().skip(first).flat_map(move |(p, page)| {
            let skip = if p == first { id as usize % PAGE } else { 0 };
            let rows = page.iter().enumerate().skip(skip);
            rows.filter_map(move |(i, row)| Some(((p * PAGE + i) as u32, row.as_ref()?)))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_never_used_again() {
        let mut t = Table::default();
        let ids: Vec<u32> = (0..300).map(|i| t.push(i)).collect();
        assert_eq!(ids, (0..300).collect::<Vec<u32>>());
        (0..300).for_each(|id| assert_eq!(t.remove(id), Some(id)));
        assert_eq!((t.len(), t.push(7)), (0, 300));
        assert_eq!((t.get(300), t.get(5)), (Some(&7), None));
        assert_eq!(t.remove(5), None);
        t.skip_to(1000);
        assert_eq!((t.push(8), t.iter_from(301).collect::<Vec<_>>()), (1000, vec![(1000, &8)]));
        assert_eq!(t.len(), 2);
    }
}
