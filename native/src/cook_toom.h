// Winograd's minimal filtering F(tile, taps) in one dimension, from the Cook-Toom algorithm (Lavin
// and Gray, arXiv:1509.09308): `tile` outputs of a filter of `taps` taps from size = tile + taps -
// 1 inputs d and multiplications,
//
//     y = A^T [(G g) ⊙ (B^T d)]
//
// The three matrices follow from the points at which the polynomials are evaluated: 0, 1, -1, 2,
// -2, 1/2, -1/2, as many of them as size - 1, and infinity. They are computed at compile time; in
// B^T and A^T all numbers are exact. No standard headers, and nothing with external linkage: the
// kernels include this once for each instruction set.
#pragma once

namespace vgg {
namespace {

struct Fraction {
  int numerator, denominator;
};

constexpr Fraction interpolation_points[] = {{0, 1},  {1, 1}, {-1, 1}, {2, 1},
                                             {-2, 1}, {1, 2}, {-1, 2}};

template <class Number>
constexpr Number interpolation_point(int index) {
  return Number(interpolation_points[index].numerator) /
         Number(interpolation_points[index].denominator);
}

template <class Number, int tile_, int taps_>
struct CookToom {
  static constexpr int tile = tile_;
  static constexpr int taps = taps_;
  static constexpr int size = tile + taps - 1;
  static constexpr int finite = size - 1;  // points that are not infinity: 0 and pairs p, -p
  static constexpr int pairs = (finite - 1) / 2;

  Number output[tile][size] = {};  // A^T: column p is 1, p, p^2, ...; infinity's is 0, ..., 0, 1
  Number filter[size][taps] =
      {};  // G: row p is (1, p, p^2, ...) / prod(p - q); infinity's is 0, ..., 0, 1
  Number input[size][size] =
      {};  // B^T: row p has the coefficients of prod(x - q) over q != p; infinity's, over all

  constexpr CookToom() {
    for (int p = 0; p < finite; ++p) {
      const Number point = interpolation_point<Number>(p);
      Number scale(1);
      for (int q = 0; q < finite; ++q)
        if (q != p) scale = scale * (point - interpolation_point<Number>(q));
      Number power(1);
      for (int i = 0; i < size; ++i) {
        if (i < tile) output[i][p] = power;
        if (i < taps) filter[p][i] = power / scale;
        power = power * point;
      }
    }
    output[tile - 1][finite] = Number(1);
    filter[finite][taps - 1] = Number(1);
    for (int p = 0; p <= finite; ++p) polynomial(p);
  }

 private:
  // Multiplies (x - q) up, one point after the other.
  constexpr void polynomial(int except) {
    Number(&row)[size] = input[except];
    row[0] = Number(1);
    int degree = 0;
    for (int q = 0; q < finite; ++q) {
      if (q == except) continue;
      ++degree;
      for (int i = degree; i >= 0; --i)
        row[i] = (i > 0 ? row[i - 1] : Number(0)) - interpolation_point<Number>(q) * row[i];
    }
  }
};

}  // namespace
}  // namespace vgg
