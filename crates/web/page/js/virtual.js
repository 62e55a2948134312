// Draws only the rows that are in sight. A row keeps its element while it is, and while it holds the focus.
const MARGIN = 500;

export class VirtualList {
  /** `draw(row)` returns `{ root, update }`; a row has `key` and `height`. */
  constructor(host, draw) {
    this.host = host;
    this.draw = draw;
    this.rows = [];
    this.tops = [0];
    this.drawn = new Map();
    host.classList.add("virtual");
    this.onScroll = () => this.schedule();
    addEventListener("scroll", this.onScroll, { passive: true });
    addEventListener("resize", this.onScroll, { passive: true });
  }

  destroy() {
    removeEventListener("scroll", this.onScroll);
    removeEventListener("resize", this.onScroll);
  }

  /** Draws all anew: what rows are made of has changed as a whole. */
  clear() {
    for (const { root } of this.drawn.values()) root.remove();
    this.drawn.clear();
  }

  setRows(rows) {
    this.rows = rows;
    this.tops = [0];
    for (const row of rows) this.tops.push(this.tops.at(-1) + row.height);
    this.host.style.height = `${this.tops.at(-1)}px`;
    this.render();
  }

  schedule() {
    if (this.scheduled) return;
    this.scheduled = true;
    requestAnimationFrame(() => {
      this.scheduled = false;
      this.render();
    });
  }

  indexAt(y) {
    let [low, high] = [0, this.rows.length];
    while (low < high) {
      const middle = (low + high) >> 1;
      if (this.tops[middle + 1] <= y) low = middle + 1;
      else high = middle;
    }
    return low;
  }

  render() {
    const top = this.host.getBoundingClientRect().top;
    const first = this.indexAt(-top - MARGIN);
    const last = this.indexAt(-top + innerHeight + MARGIN);
    const wanted = new Map();
    for (let index = first; index <= last && index < this.rows.length; index++) wanted.set(this.rows[index].key, index);
    for (const [key, drawn] of this.drawn) {
      if (wanted.has(key)) continue;
      const index = drawn.root.contains(document.activeElement) ? this.rows.findIndex((row) => row.key === key) : -1;
      if (index >= 0) {
        wanted.set(key, index);
      } else {
        drawn.root.remove();
        this.drawn.delete(key);
      }
    }
    let before = null;
    for (const [key, index] of [...wanted].sort((a, b) => a[1] - b[1])) {
      const row = this.rows[index];
      let drawn = this.drawn.get(key);
      if (!drawn) {
        drawn = this.draw(row);
        drawn.root.classList.add("vrow");
        this.drawn.set(key, drawn);
      } else if (drawn.row !== row) {
        drawn.update?.(row);
      }
      drawn.row = row;
      drawn.root.style.transform = `translateY(${this.tops[index]}px)`;
      // In the order of the list, for the keyboard and for readers.
      const next = before ? before.nextSibling : this.host.firstChild;
      if (next !== drawn.root) this.host.insertBefore(drawn.root, next);
      before = drawn.root;
    }
  }
}
