// Adapter protocol 1 over standard input and output, for every engine that has an Instance.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <functional>
#include <iostream>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

namespace protocol {

using nlohmann::json;
using Bytes = std::vector<uint8_t>;

constexpr uint64_t kPage = 65536;
constexpr uint64_t kNoLimit = UINT64_MAX;

// An answer that is neither `ok` nor `error`.
struct Refusal {
  json answer;
};

inline Refusal trap(const std::string &kind, const std::string &message) {
  return {{{"result", "trap"}, {"kind", kind}, {"message", message}}};
}

inline Refusal reject(const std::string &stage, const std::string &message) {
  return {{{"result", "reject"}, {"stage", stage}, {"message", message}}};
}

// One module in one engine; the memory is the export `memory`, and bounds are checked before.
class Instance {
 public:
  virtual ~Instance() = default;
  virtual std::vector<std::string> call(const std::string &name, const std::vector<std::string> &arguments,
                                        uint64_t fuel) = 0;
  // The fuel that the last call used; only an engine that declares `fuel-used` counts it.
  virtual std::optional<uint64_t> used() { return std::nullopt; }
  virtual uint64_t pages() = 0;
  // Returns whether the memory grew.
  virtual bool grow(uint32_t pages) = 0;
  virtual void read(uint64_t address, Bytes &bytes) = 0;
  virtual void write(uint64_t address, const Bytes &bytes) = 0;
  virtual std::string global(const std::string &name) = 0;
};

// Bits of a number, as many as its type has.
struct Number {
  std::string type;
  uint64_t bits;
};

inline Number parse(const std::string &text) {
  const auto colon = text.find(':');
  const auto type = text.substr(0, colon), digits = text.substr(colon + 1);
  if (type == "i32" || type == "i64") return {type, std::stoull(digits)};
  if (type == "f32" || type == "f64") return {type, std::stoull(digits, nullptr, 16)};
  if (text == "externref:null") return {type, 0};
  throw std::invalid_argument("`" + text + "` is no value");
}

inline std::string show(const std::string &type, uint64_t bits) {
  if (type == "i32" || type == "i64") return type + ":" + std::to_string(bits);
  static const char digits[] = "0123456789abcdef";
  std::string text = type + ":";
  for (int shift = type == "f32" ? 28 : 60; shift >= 0; shift -= 4) text += digits[bits >> shift & 15];
  return text;
}

template <typename To, typename From>
To same_bits(From from) {
  static_assert(sizeof(To) == sizeof(From));
  To to;
  std::memcpy(&to, &from, sizeof to);
  return to;
}

inline Bytes unhex(const std::string &text) {
  Bytes bytes(text.size() / 2);
  for (size_t i = 0; i < bytes.size(); i++) bytes[i] = std::stoul(text.substr(2 * i, 2), nullptr, 16);
  return bytes;
}

inline std::string hex(const Bytes &bytes) {
  static const char digits[] = "0123456789abcdef";
  std::string text;
  for (const auto byte : bytes) (text += digits[byte >> 4]) += digits[byte & 15];
  return text;
}

// A number as it stands there, or one that refers to an earlier answer in the batch: @3*65536+8.
inline uint64_t number(const std::string &text, const json &results) {
  if (text.empty() || text[0] != '@') return std::stoull(text);
  const auto plus = text.find('+'), times = text.find('*');
  const json &answer = results.at(std::stoull(text.substr(1)));
  uint64_t value = answer.contains("values") ? parse(answer.at("values").at(0)).bits : answer.at("pages").get<uint64_t>();
  if (times != std::string::npos) value *= std::stoull(text.substr(times + 1));
  if (plus != std::string::npos) value += std::stoull(text.substr(plus + 1));
  return value;
}

// An argument without a reference.
inline std::string value(const std::string &text, const json &results) {
  const auto digits = text.find(':') + 1;
  if (text[digits] != '@') return text;
  const auto bits = number(text.substr(digits), results);
  return text.substr(0, digits) + std::to_string(text.compare(0, 3, "i32") == 0 ? static_cast<uint32_t>(bits) : bits);
}

// The address of bytes that lie inside the memory, compared in 64 bits.
inline uint64_t bounded(Instance &instance, const json &ask, uint64_t length, const json &results) {
  const uint64_t address = number(ask.at("address"), results), end = instance.pages() * kPage;
  if (address > end || length > end - address)
    throw trap("out-of-bounds", std::to_string(address) + " is past " + std::to_string(end));
  return address;
}

inline json perform(const std::string &op, Instance &instance, const json &ask, const json &results) {
  if (op == "call") {
    const auto fuel = ask.contains("fuel") ? std::stoull(ask.at("fuel").get<std::string>()) : kNoLimit;
    std::vector<std::string> arguments;
    for (const auto &each : ask.at("args")) arguments.push_back(value(each, results));
    json answer = {{"values", instance.call(ask.at("name"), arguments, fuel)}};
    if (const auto used = instance.used(); used && ask.contains("fuel")) answer["used"] = std::to_string(*used);
    return answer;
  }
  if (op == "read") {
    const uint64_t length = ask.at("length"), address = bounded(instance, ask, length, results);
    Bytes bytes(length);
    if (length > 0) instance.read(address, bytes);
    return {{"bytes", hex(bytes)}};
  }
  if (op == "write") {
    const Bytes bytes = unhex(ask.at("bytes"));
    const uint64_t address = bounded(instance, ask, bytes.size(), results);
    if (!bytes.empty()) instance.write(address, bytes);
    return json::object();
  }
  if (op == "size") return {{"pages", instance.pages()}};
  if (op == "grow") {
    const uint64_t pages = ask.at("pages"), old = instance.pages();
    return {{"pages", pages <= kPage && instance.grow(pages) ? json(old) : json(-1)}};
  }
  return {{"value", instance.global(ask.at("name"))}};
}

// Makes instances of one compiled module.
using Maker = std::function<std::unique_ptr<Instance>()>;
// Compiles a module.
using Engine = std::function<Maker(const Bytes &)>;

class Server {
 public:
  Server(const json &hello, const Engine &engine) : hello_(hello), engine_(engine) {
    for (const char *each : {"batch", "modules"}) hello_["capabilities"].push_back(each);
    hello_["protocol"] = 1;
  }

  // Returns the answer to one line, all but its id.
  json answer_line(const json &ask) {
    if (ask.value("op", "") != "batch") return answer(ask);
    results_ = json::array();
    for (const auto &operation : ask.at("operations")) results_.push_back(answer(operation));
    return {{"result", "ok"}, {"answers", results_}};
  }

 private:
  json answer(const json &ask) {
    static const char *const known[] = {"instantiate", "call", "read", "write", "size", "grow", "global_get", "drop"};
    json answer = json::object();
    try {
      const std::string op = ask.at("op");
      if (op == "hello") {
        answer = hello_;
      } else if (std::find(std::begin(known), std::end(known), op) == std::end(known)) {
        throw Refusal{{{"result", "unsupported"}}};
      } else if (op == "instantiate") {
        instances_[ask.at("instance")] = instantiate(ask);
      } else if (op == "drop") {
        if (instances_.erase(ask.at("instance")) == 0) throw std::invalid_argument("no such instance");
      } else {
        answer = perform(op, *instances_.at(ask.at("instance")), ask, results_);
      }
      answer["result"] = "ok";
    } catch (const Refusal &refusal) {
      answer = refusal.answer;
    } catch (const std::exception &error) {
      answer = {{"result", "error"}, {"message", error.what()}};
    }
    return answer;
  }

  std::unique_ptr<Instance> instantiate(const json &ask) {
    if (!ask.contains("module")) return modules_.at(ask.at("digest"))();
    const auto make = engine_(unhex(ask.at("module")));
    if (ask.contains("digest")) modules_[ask.at("digest")] = make;
    return make();
  }

  json hello_;
  Engine engine_;
  std::map<std::string, std::unique_ptr<Instance>> instances_;
  std::map<std::string, Maker> modules_;  // by digest
  json results_ = json::array();          // the answers so far of the batch at hand
};

// Answers requests until the input ends.
inline void serve(const json &hello, const Engine &engine) {
  Server server(hello, engine);
  for (std::string line; std::getline(std::cin, line);) {
    const json ask = json::parse(line);
    json answer = server.answer_line(ask);
    answer["id"] = ask.at("id");
    std::cout << answer.dump() << std::endl;
  }
}

}  // namespace protocol
