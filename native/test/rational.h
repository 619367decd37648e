// Exact fractions of 64-bit integers, at compile time too. What does not fit is an error, never a
// wrong number.
#pragma once

#include <cstdint>
#include <numeric>
#include <stdexcept>

namespace vgg {

struct Rational {
  int64_t numerator, denominator;  // in lowest terms, the denominator positive

  constexpr Rational(int64_t n = 0, int64_t d = 1) : numerator(n), denominator(d) {
    const int64_t divisor = std::gcd(n, d) * (d < 0 ? -1 : 1);
    numerator /= divisor;
    denominator /= divisor;
  }
  constexpr Rational operator+(Rational b) const {
    const int64_t common = std::lcm(denominator, b.denominator);
    const int64_t own = times(numerator, common / denominator);
    const int64_t others = times(b.numerator, common / b.denominator);
    int64_t sum = 0;
    if (__builtin_add_overflow(own, others, &sum)) throw std::overflow_error("a sum of fractions");
    return {sum, common};
  }
  constexpr Rational operator-(Rational b) const {
    return *this + Rational(-b.numerator, b.denominator);
  }
  constexpr Rational operator*(Rational b) const {
    // Reduced crosswise first, so that the products stay small.
    const Rational left(numerator, b.denominator), right(b.numerator, denominator);
    return {times(left.numerator, right.numerator), times(left.denominator, right.denominator)};
  }
  constexpr Rational operator/(Rational b) const {
    return *this * Rational(b.denominator, b.numerator);
  }
  constexpr bool operator==(Rational b) const {
    return numerator == b.numerator && denominator == b.denominator;
  }
  constexpr bool operator!=(Rational b) const { return !(*this == b); }

  // The nearest float or double: IEEE 754 rounds a quotient once, so its operands must be exact.
  template <class Number>
  constexpr Number rounded() const {
    const Number n = static_cast<Number>(numerator), d = static_cast<Number>(denominator);
    if (static_cast<int64_t>(n) != numerator || static_cast<int64_t>(d) != denominator)
      throw std::overflow_error("a fraction of too many digits");
    return n / d;
  }

 private:
  static constexpr int64_t times(int64_t a, int64_t b) {
    int64_t result = 0;
    if (__builtin_mul_overflow(a, b, &result)) throw std::overflow_error("a product of fractions");
    return result;
  }
};

}  // namespace vgg
