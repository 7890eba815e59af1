"""Fits the two polynomials of `erf` in crates/kernels/src/math.rs and prints them as Rust, with values to test against.

Needs: pip install numpy scipy. Writes to standard output only.
"""

import numpy as np
from numpy.polynomial import chebyshev, polynomial
from scipy.special import erf, erfc


def fit(function, low, high, degree):
    """Least squares on a Chebyshev grid of [low, high], as plain coefficients, highest power first."""
    nodes = np.cos(np.pi * (np.arange(200) + 0.5) / 200)
    x = (nodes + 1) / 2 * (high - low) + low
    series = chebyshev.Chebyshev.fit(x, function(x), degree, domain=[low, high])
    return series.convert(kind=polynomial.Polynomial).coef[::-1]


def rust(name, comment, coefficients):
    print(f"/// {comment}")
    values = ", ".join(np.format_float_scientific(np.float32(c), unique=True) for c in coefficients)
    print(f"const {name}: [f32; {len(coefficients)}] = [{values}];")


near = fit(lambda s: erf(np.sqrt(s)) / np.sqrt(s), 1e-12, 1, 6)
far = fit(lambda t: -np.log(erfc(t)), 0.95, 4.05, 8)
rust("NEAR", "erf(x) / x as a polynomial of x^2 on [0, 1], highest power first.", near)
rust("FAR", "-ln(1 - erf(t)) as a polynomial of t on [1, 4], highest power first.", far)
print("const ERF_VALUES: &[(f32, f64)] = &[")
for x in [1e-6, 0.01, 0.1, 0.25, 0.5, 0.75, 0.9, 0.99, 1.0, 1.01, 1.25, 1.5, 2.0, 2.5, 3.0, 3.5, 3.9, 4.0, 4.5, 6.0]:
    x = np.float32(x)
    print(f"    ({np.format_float_positional(x, unique=True)}, {float(erf(np.float64(x)))!r}),")
print("];")
