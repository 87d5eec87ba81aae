// The exact solver: the least total squared error of 1-D k-means, on the values themselves, for every k up to a maximum.
//
//   optimal DATA.f32 KMAX [--weights W.f32] [--pin0]     prints "n distinct totalWeight", then a line "k error" per k
//   optimal --selftest [CASES]                           compares with enumeration and with the O(k n^2) recurrence
//
// DATA and W are raw little-endian float32. With --pin0 one of the k centroids is fixed at zero and may stay empty.
// k-means on the line is a dynamic programme over the sorted values (Bruce 1965; Wang & Song 2011): the best k intervals
// of a prefix are the best k-1 intervals of a shorter prefix and one interval more. The best last cut moves right with
// the prefix (the costs satisfy the quadrangle inequality), so each layer is found by divide and conquer in O(n log n).
// Interval costs come from prefix sums in double-double (106 bits): what cancels in sum(wxx) - sum(wx)^2 / sum(w) leaves
// far more than the 53 bits of the answer. Layers are double: they only add positive numbers.
// Build: g++ -O3 -march=native -ffp-contract=off -std=c++17 (no -ffast-math: the error terms would be optimised away).
#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <random>
#include <string>
#include <vector>

namespace {

constexpr double kInfinity = std::numeric_limits<double>::infinity();

// ---- double-double: an unevaluated sum hi + lo (Dekker 1971, Knuth 4.2.2) ----

struct Twofold {
  double hi, lo;
};

inline Twofold twoSum(double a, double b) {
  double s = a + b, t = s - a;
  return {s, (a - (s - t)) + (b - t)};
}

inline Twofold twoProduct(double a, double b) {
  double p = a * b;
  return {p, std::fma(a, b, -p)};
}

inline Twofold add(Twofold a, Twofold b) {
  Twofold s = twoSum(a.hi, b.hi), t = twoSum(a.lo, b.lo);
  s = twoSum(s.hi, s.lo + t.hi);
  return twoSum(s.hi, s.lo + t.lo);
}

inline Twofold multiply(Twofold a, Twofold b) {
  Twofold p = twoProduct(a.hi, b.hi);
  return twoSum(p.hi, p.lo + (a.hi * b.lo + a.lo * b.hi));
}

inline Twofold subtract(double aHi, double aLo, double bHi, double bLo) {
  Twofold s = twoSum(aHi, -bHi);
  return twoSum(s.hi, s.lo + (aLo - bLo));
}

// ---- the input: distinct values, ascending, each with its weight ----

struct Point {
  double x;
  Twofold w;
};

std::vector<Point> mergeEqual(std::vector<std::pair<float, float>> items) {
  std::sort(items.begin(), items.end());
  std::vector<Point> points;
  for (auto [x, w] : items) {
    if (w == 0) continue;
    if (!points.empty() && points.back().x == x) {
      points.back().w = add(points.back().w, {w, 0});
    } else {
      points.push_back({x, {w, 0}});
    }
  }
  return points;
}

// ---- interval costs: squared error of points [i, j) to their mean ----

struct Costs {
  size_t n;
  std::vector<double> wHi, wLo, xHi, xLo, xxHi, xxLo;  // prefix sums of w, w x, w x x; entry i sums the first i points

  explicit Costs(const std::vector<Point>& points)
      : n(points.size()), wHi(n + 1), wLo(n + 1), xHi(n + 1), xLo(n + 1), xxHi(n + 1), xxLo(n + 1) {
    long double sumW = 0, sumX = 0;
    for (const Point& p : points) sumW += p.w.hi, sumX += (long double)p.w.hi * p.x;
    double centre = (double)(sumX / sumW);  // any centre is right; the mean makes the sums small
    Twofold w{0, 0}, x{0, 0}, xx{0, 0};
    for (size_t i = 0; i < n; i++) {
      Twofold shifted = twoSum(points[i].x, -centre);
      Twofold wx = multiply(points[i].w, shifted);
      w = add(w, points[i].w);
      x = add(x, wx);
      xx = add(xx, multiply(wx, shifted));
      wHi[i + 1] = w.hi, wLo[i + 1] = w.lo, xHi[i + 1] = x.hi, xLo[i + 1] = x.lo, xxHi[i + 1] = xx.hi, xxLo[i + 1] = xx.lo;
    }
  }

  inline double operator()(size_t i, size_t j) const {
    Twofold w = subtract(wHi[j], wLo[j], wHi[i], wLo[i]);
    Twofold x = subtract(xHi[j], xLo[j], xHi[i], xLo[i]);
    Twofold xx = subtract(xxHi[j], xxLo[j], xxHi[i], xxLo[i]);
    Twofold square = multiply(x, x);
    double quotient = square.hi / w.hi;
    double rest = (std::fma(-quotient, w.hi, square.hi) + (square.lo - quotient * w.lo)) / w.hi;
    Twofold cost = twoSum(xx.hi, -quotient);
    double value = cost.hi + (cost.lo + (xx.lo - rest));
    return value > 0 && j - i > 1 ? value : 0;  // one point costs nothing, to the last bit
  }
};

// ---- one layer: next[j] = min over i < j of previous[i] + cost(i, j) ----

class Layer {
 public:
  Layer(const Costs& costs, const std::vector<double>& previous, std::vector<double>& next)
      : costs_(costs), previous_(previous), next_(next) {}

  void fill() {
    next_[0] = 0;  // no points need no error
    if (costs_.n > 0) solve(1, costs_.n, 0, costs_.n - 1);
  }

 private:
  // Prefixes first..last, whose best cuts lie in cutFirst..cutLast.
  void solve(size_t first, size_t last, size_t cutFirst, size_t cutLast) {
    size_t middle = first + (last - first) / 2;
    size_t cut = bestCut(middle, cutFirst, std::min(cutLast, middle - 1));
    if (first < middle) solve(first, middle - 1, cutFirst, cut);
    if (middle < last) solve(middle + 1, last, cut, cutLast);
  }

  size_t bestCut(size_t prefix, size_t cutFirst, size_t cutLast) {
    constexpr size_t kBlock = 256;  // the costs of a block are computed side by side (SIMD), then compared
    double totals[kBlock];
    double best = kInfinity;
    size_t bestAt = cutFirst;
    for (size_t start = cutFirst; start <= cutLast; start += kBlock) {
      size_t count = std::min(kBlock, cutLast + 1 - start);
      for (size_t c = 0; c < count; c++) totals[c] = previous_[start + c] + costs_(start + c, prefix);
      for (size_t c = 0; c < count; c++) {
        if (totals[c] < best) best = totals[c], bestAt = start + c;
      }
    }
    next_[prefix] = best;
    return bestAt;
  }

  const Costs& costs_;
  const std::vector<double>& previous_;
  std::vector<double>& next_;
};

/** Least errors for k = 1..kMax; with pin0 one of the k centroids is fixed at zero. */
std::vector<double> optimal(const std::vector<Point>& points, int kMax, bool pin0) {
  size_t n = points.size();
  Costs costs(points);
  std::vector<double> free(n + 1, kInfinity);  // k free intervals, the pin not used yet
  free[0] = 0;
  std::vector<double> pinned(n + 1, kInfinity);  // as many free intervals, and the pin passed (it may own nothing)
  std::vector<double> next(n + 1), nextPinned(n + 1);
  std::vector<double> errors;
  auto passPin = [&](std::vector<double>& passed, const std::vector<double>& before) {
    // A point given to the pin costs w x x whatever else the pin owns, so one running minimum does.
    double open = kInfinity;
    for (size_t j = 0; j <= n; j++) {
      if (j > 0) open += points[j - 1].w.hi * points[j - 1].x * points[j - 1].x;
      open = std::min(open, before[j]);
      passed[j] = std::min(passed[j], open);
    }
  };
  if (pin0) passPin(pinned, free);
  for (int k = 1; k <= kMax; k++) {
    if (pin0) {
      errors.push_back(pinned[n]);
      if (k == kMax) break;
      Layer(costs, pinned, nextPinned).fill();
      nextPinned[0] = 0;
      Layer(costs, free, next).fill();
      passPin(nextPinned, next);
      pinned.swap(nextPinned);
    } else {
      Layer(costs, free, next).fill();
      errors.push_back(next[n]);
    }
    free.swap(next);
  }
  return errors;
}

// ---- the self-test: slow, plain, and sharing nothing with the above but the input ----

long double plainCost(const std::vector<Point>& p, size_t i, size_t j) {
  long double w = 0, x = 0, cost = 0;
  for (size_t a = i; a < j; a++) w += p[a].w.hi, x += (long double)p[a].w.hi * p[a].x;
  for (size_t a = i; a < j; a++) cost += p[a].w.hi * (p[a].x - x / w) * (p[a].x - x / w);
  return cost;
}

/** Every way to cut [i, n) in at most `free` intervals, one interval more going to zero if `pin`. */
long double enumerate(const std::vector<Point>& p, size_t i, int free, bool pin) {
  if (i == p.size()) return 0;
  long double best = std::numeric_limits<long double>::infinity();
  for (size_t j = i + 1; j <= p.size(); j++) {
    if (free > 0) best = std::min(best, plainCost(p, i, j) + enumerate(p, j, free - 1, pin));
    if (!pin) continue;
    long double toZero = 0;
    for (size_t a = i; a < j; a++) toZero += (long double)p[a].w.hi * p[a].x * p[a].x;
    best = std::min(best, toZero + enumerate(p, j, free, false));
  }
  return best;
}

/** The recurrence as printed in Wang & Song 2011, O(k n^2) with all interval costs tabulated in O(n^3). */
std::vector<long double> quadratic(const std::vector<Point>& p, int kMax) {
  size_t n = p.size();
  std::vector<std::vector<long double>> cost(n + 1, std::vector<long double>(n + 1, 0));
  for (size_t i = 0; i < n; i++) {
    for (size_t j = i + 1; j <= n; j++) cost[i][j] = plainCost(p, i, j);
  }
  std::vector<long double> previous(n + 1, std::numeric_limits<long double>::infinity()), errors;
  previous[0] = 0;
  for (int k = 1; k <= kMax; k++) {
    std::vector<long double> next(n + 1, std::numeric_limits<long double>::infinity());
    next[0] = 0;
    for (size_t j = 1; j <= n; j++) {
      for (size_t i = 0; i < j; i++) next[j] = std::min(next[j], previous[i] + cost[i][j]);
    }
    errors.push_back(next[n]);
    previous = next;
  }
  return errors;
}

bool agree(double got, long double want, long double scale) {
  // The second term allows for the rounding of plainCost's own mean.
  return std::fabs(got - want) <= 1e-13L * want + 1e-17L * scale;
}

int selftest(int cases) {
  std::mt19937 random(20240607);
  auto below = [&](int bound) { return (int)(random() % (unsigned)bound); };
  std::normal_distribution<float> bell;
  long checks = 0;
  for (int c = 0; c < cases; c++) {
    bool small = c % 10 != 0;
    int n = small ? 1 + below(9) : 20 + below(180);
    int kind = below(6);
    bool weighted = below(2) == 1;
    std::vector<std::pair<float, float>> items;
    for (int i = 0; i < n; i++) {
      float x = bell(random);
      if (kind == 1) x = (float)(below(7) - 3);           // many equal values
      if (kind == 2) x = 1 + 1e-5f * x;                   // nearly constant
      if (kind == 3) x = (i % 2 ? 5.0f : 0.0f) + 1e-3f * x;  // two clumps
      if (kind == 4 && i == 0) x = 170;                   // a peak
      if (kind == 5 && below(2)) x = 0;                   // a spike
      items.push_back({x, weighted ? std::fabs(bell(random)) * (below(5) ? 1 : 1000) : 1.0f});
    }
    std::vector<Point> points = mergeEqual(items);
    long double scale = 0;
    for (const Point& p : points) scale += (long double)p.w.hi * p.x * p.x;
    int kMax = small ? 4 : 1 + below(40);
    std::vector<double> got = optimal(points, kMax, false);
    std::vector<long double> want = quadratic(points, kMax);
    for (int k = 1; k <= kMax; k++, checks++) {
      if (agree(got[k - 1], want[k - 1], scale)) continue;
      std::printf("case %d: k %d, got %.17g, quadratic says %.20Lg\n", c, k, got[k - 1], want[k - 1]);
      return 1;
    }
    if (!small) continue;
    std::vector<double> gotPinned = optimal(points, kMax, true);
    for (int k = 1; k <= kMax; k++, checks += 2) {
      long double all = enumerate(points, 0, k, false), allPinned = enumerate(points, 0, k - 1, true);
      if (agree(got[k - 1], all, scale) && agree(gotPinned[k - 1], allPinned, scale)) continue;
      std::printf("case %d: k %d, got %.17g and %.17g pinned, enumeration says %.20Lg and %.20Lg\n", c, k, got[k - 1],
                  gotPinned[k - 1], all, allPinned);
      return 1;
    }
  }
  std::printf("selftest: %d cases, %ld comparisons, all equal\n", cases, checks);
  return 0;
}

// ---- the command line ----

std::vector<float> readFloats(const char* path) {
  FILE* file = std::fopen(path, "rb");
  if (!file) std::fprintf(stderr, "cannot open %s\n", path), std::exit(2);
  std::fseek(file, 0, SEEK_END);
  long bytes = std::ftell(file);
  std::rewind(file);
  std::vector<float> values((size_t)bytes / 4);
  bool whole = bytes % 4 == 0 && std::fread(values.data(), 4, values.size(), file) == values.size();
  std::fclose(file);
  if (!whole) std::fprintf(stderr, "%s: %ld bytes are not float32 values\n", path, bytes), std::exit(2);
  return values;
}

}  // namespace

int main(int argc, char** argv) {
  if (argc >= 2 && !std::strcmp(argv[1], "--selftest")) return selftest(argc > 2 ? std::atoi(argv[2]) : 20000);
  if (argc < 3) {
    std::fprintf(stderr, "usage: optimal DATA.f32 KMAX [--weights W.f32] [--pin0] | optimal --selftest [CASES]\n");
    return 2;
  }
  std::vector<float> values = readFloats(argv[1]);
  std::vector<float> weights(values.size(), 1.0f);
  int kMax = std::atoi(argv[2]);
  bool pin0 = false;
  for (int a = 3; a < argc; a++) {
    if (!std::strcmp(argv[a], "--pin0")) pin0 = true;
    if (!std::strcmp(argv[a], "--weights") && a + 1 < argc) weights = readFloats(argv[++a]);
  }
  if (weights.size() != values.size() || values.empty() || kMax < 1) {
    std::fprintf(stderr, "%zu values, %zu weights, k up to %d\n", values.size(), weights.size(), kMax);
    return 2;
  }
  std::vector<std::pair<float, float>> items;
  for (size_t i = 0; i < values.size(); i++) {
    if (!std::isfinite(values[i]) || !std::isfinite(weights[i]) || weights[i] < 0) {
      std::fprintf(stderr, "value %zu: %g with weight %g\n", i, values[i], weights[i]);
      return 2;
    }
    items.push_back({values[i], weights[i]});
  }
  std::vector<Point> points = mergeEqual(items);
  Twofold total{0, 0};
  for (const Point& p : points) total = add(total, p.w);
  std::vector<double> errors = optimal(points, kMax, pin0);
  std::printf("%zu %zu %.17g\n", values.size(), points.size(), total.hi);
  for (size_t k = 1; k <= errors.size(); k++) std::printf("%zu %.17g\n", k, errors[k - 1]);
  return 0;
}
