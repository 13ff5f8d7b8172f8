//! The arities of tuples, as a table.

/// Calls a macro with a row for each arity from 1 on: a name for it, and each child's name, type and index.
#[rustfmt::skip]
macro_rules! for_each_arity {
    ($call:ident) => {
        $call! {
            Slots1(a: A = 0)
            Slots2(a: A = 0, b: B = 1)
            Slots3(a: A = 0, b: B = 1, c: C = 2)
            Slots4(a: A = 0, b: B = 1, c: C = 2, d: D = 3)
            Slots5(a: A = 0, b: B = 1, c: C = 2, d: D = 3, e: E = 4)
            Slots6(a: A = 0, b: B = 1, c: C = 2, d: D = 3, e: E = 4, f: F = 5)
            Slots7(a: A = 0, b: B = 1, c: C = 2, d: D = 3, e: E = 4, f: F = 5, g: G = 6)
            Slots8(a: A = 0, b: B = 1, c: C = 2, d: D = 3, e: E = 4, f: F = 5, g: G = 6, h: H = 7)
            Slots9(a: A = 0, b: B = 1, c: C = 2, d: D = 3, e: E = 4, f: F = 5, g: G = 6, h: H = 7, i: I = 8)
            Slots10(a: A = 0, b: B = 1, c: C = 2, d: D = 3, e: E = 4, f: F = 5, g: G = 6, h: H = 7, i: I = 8, j: J = 9)
            Slots11(a: A = 0, b: B = 1, c: C = 2, d: D = 3, e: E = 4, f: F = 5, g: G = 6, h: H = 7, i: I = 8, j: J = 9, k: K = 10)
            Slots12(a: A = 0, b: B = 1, c: C = 2, d: D = 3, e: E = 4, f: F = 5, g: G = 6, h: H = 7, i: I = 8, j: J = 9, k: K = 10, l: L = 11)
            Slots13(a: A = 0, b: B = 1, c: C = 2, d: D = 3, e: E = 4, f: F = 5, g: G = 6, h: H = 7, i: I = 8, j: J = 9, k: K = 10, l: L = 11, m: M = 12)
            Slots14(a: A = 0, b: B = 1, c: C = 2, d: D = 3, e: E = 4, f: F = 5, g: G = 6, h: H = 7, i: I = 8, j: J = 9, k: K = 10, l: L = 11, m: M = 12, n: N = 13)
            Slots15(a: A = 0, b: B = 1, c: C = 2, d: D = 3, e: E = 4, f: F = 5, g: G = 6, h: H = 7, i: I = 8, j: J = 9, k: K = 10, l: L = 11, m: M = 12, n: N = 13, o: O = 14)
            Slots16(a: A = 0, b: B = 1, c: C = 2, d: D = 3, e: E = 4, f: F = 5, g: G = 6, h: H = 7, i: I = 8, j: J = 9, k: K = 10, l: L = 11, m: M = 12, n: N = 13, o: O = 14, p: Q = 15)
        }
    };
}

pub(crate) use for_each_arity;
