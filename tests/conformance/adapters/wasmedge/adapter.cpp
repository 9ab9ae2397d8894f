// Adapter protocol 1 for WasmEdge through its C API.
#include <wasmedge/wasmedge.h>

#include <algorithm>
#include <cstdio>
#include <cstring>
#include <iostream>
#include <map>
#include <memory>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string>
#include <vector>

using nlohmann::json;
using Bytes = std::vector<uint8_t>;

namespace {

constexpr uint64_t kPage = 65536;
constexpr uint64_t kNoLimit = UINT64_MAX;

// An answer that is neither `ok` nor `error`.
struct Refusal {
  json answer;
};

template <typename T>
using Owned = std::unique_ptr<T, void (*)(T *)>;

json trap(const char *kind, const std::string &message) {
  return {{"result", "trap"}, {"kind", kind}, {"message", message}};
}

void require(WasmEdge_Result result, const char *stage) {
  if (!WasmEdge_ResultOK(result))
    throw Refusal{{{"result", "reject"}, {"stage", stage}, {"message", WasmEdge_ResultGetMessage(result)}}};
}

WasmEdge_String wrap(const std::string &text) { return WasmEdge_StringWrap(text.data(), text.size()); }

Bytes unhex(const std::string &text) {
  Bytes bytes(text.size() / 2);
  for (size_t i = 0; i < bytes.size(); i++) bytes[i] = std::stoul(text.substr(2 * i, 2), nullptr, 16);
  return bytes;
}

std::string hex(const uint8_t *bytes, size_t length) {
  static const char digits[] = "0123456789abcdef";
  std::string text(2 * length, '0');
  for (size_t i = 0; i < length; i++) {
    text[2 * i] = digits[bytes[i] >> 4];
    text[2 * i + 1] = digits[bytes[i] & 15];
  }
  return text;
}

template <typename To, typename From>
To bits(From from) {
  static_assert(sizeof(To) == sizeof(From));
  To to;
  std::memcpy(&to, &from, sizeof to);
  return to;
}

std::string hex_number(uint64_t number, int digits) {
  char text[17];
  snprintf(text, sizeof text, "%0*llx", digits, static_cast<unsigned long long>(number));
  return text;
}

WasmEdge_Value parse(WasmEdge_ValType type, const std::string &text) {
  const std::string kind = text.substr(0, text.find(':') + 1), digits = text.substr(kind.size());
  if (kind == "i32:" && WasmEdge_ValTypeIsI32(type)) return WasmEdge_ValueGenI32(std::stoull(digits));
  if (kind == "i64:" && WasmEdge_ValTypeIsI64(type)) return WasmEdge_ValueGenI64(std::stoull(digits));
  if (kind == "f32:" && WasmEdge_ValTypeIsF32(type))
    return WasmEdge_ValueGenF32(bits<float>(static_cast<uint32_t>(std::stoul(digits, nullptr, 16))));
  if (kind == "f64:" && WasmEdge_ValTypeIsF64(type))
    return WasmEdge_ValueGenF64(bits<double>(static_cast<uint64_t>(std::stoull(digits, nullptr, 16))));
  if (text == "externref:null" && WasmEdge_ValTypeIsExternRef(type)) return WasmEdge_ValueGenExternRef(nullptr);
  throw std::invalid_argument("`" + text + "` is of another type");
}

std::string show(WasmEdge_Value value) {
  if (WasmEdge_ValTypeIsI32(value.Type))
    return "i32:" + std::to_string(static_cast<uint32_t>(WasmEdge_ValueGetI32(value)));
  if (WasmEdge_ValTypeIsI64(value.Type))
    return "i64:" + std::to_string(static_cast<uint64_t>(WasmEdge_ValueGetI64(value)));
  if (WasmEdge_ValTypeIsF32(value.Type)) return "f32:" + hex_number(bits<uint32_t>(WasmEdge_ValueGetF32(value)), 8);
  if (WasmEdge_ValTypeIsF64(value.Type)) return "f64:" + hex_number(bits<uint64_t>(WasmEdge_ValueGetF64(value)), 16);
  if (WasmEdge_ValTypeIsExternRef(value.Type) && WasmEdge_ValueIsNullRef(value)) return "externref:null";
  throw std::invalid_argument("the value has no form in the protocol");
}

const char *trap_kind(uint32_t code) {
  switch (code) {
    case WasmEdge_ErrCode_Unreachable: return "unreachable";
    case WasmEdge_ErrCode_MemoryOutOfBounds:
    case WasmEdge_ErrCode_TableOutOfBounds: return "out-of-bounds";
    case WasmEdge_ErrCode_DivideByZero:
    case WasmEdge_ErrCode_IntegerOverflow:
    case WasmEdge_ErrCode_InvalidConvToInt: return "integer";
    case WasmEdge_ErrCode_CostLimitExceeded: return "fuel";
    case WasmEdge_ErrCode_Interrupted: return "interrupted";
    default: return "other";
  }
}

class Instance {
 public:
  explicit Instance(const Bytes &binary) {
    WasmEdge_ConfigureStatisticsSetCostMeasuring(configure_.get(), true);
    WasmEdge_StatisticsSetCostLimit(statistics_.get(), kNoLimit);
    executor_.reset(WasmEdge_ExecutorCreate(configure_.get(), statistics_.get()));
    Owned<WasmEdge_LoaderContext> loader(WasmEdge_LoaderCreate(configure_.get()), WasmEdge_LoaderDelete);
    Owned<WasmEdge_ValidatorContext> validator(WasmEdge_ValidatorCreate(configure_.get()), WasmEdge_ValidatorDelete);
    WasmEdge_ASTModuleContext *syntax = nullptr;
    require(WasmEdge_LoaderParseFromBuffer(loader.get(), &syntax, binary.data(), binary.size()), "compile");
    Owned<WasmEdge_ASTModuleContext> parsed(syntax, WasmEdge_ASTModuleDelete);
    require(WasmEdge_ValidatorValidate(validator.get(), syntax), "compile");
    WasmEdge_ModuleInstanceContext *module = nullptr;
    const bool has_imports = WasmEdge_ASTModuleListImportsLength(syntax) > 0;
    const auto result = WasmEdge_ExecutorInstantiate(executor_.get(), &module, store_.get(), syntax);
    require(result, has_imports ? "link" : "start");
    module_.reset(module);
  }

  json call(const std::string &name, const std::vector<std::string> &arguments, uint64_t fuel) {
    const auto *function = WasmEdge_ModuleInstanceFindFunction(module_.get(), wrap(name));
    if (!function) throw std::invalid_argument("no exported function `" + name + "`");
    const auto *type = WasmEdge_FunctionInstanceGetFunctionType(function);
    std::vector<WasmEdge_ValType> kinds(WasmEdge_FunctionTypeGetParametersLength(type));
    WasmEdge_FunctionTypeGetParameters(type, kinds.data(), kinds.size());
    if (kinds.size() != arguments.size()) throw std::invalid_argument("wrong count of arguments");
    std::vector<WasmEdge_Value> values, results(WasmEdge_FunctionTypeGetReturnsLength(type));
    for (size_t i = 0; i < kinds.size(); i++) values.push_back(parse(kinds[i], arguments[i]));
    WasmEdge_StatisticsClear(statistics_.get());
    WasmEdge_StatisticsSetCostLimit(statistics_.get(), fuel);
    const auto result = WasmEdge_ExecutorInvoke(executor_.get(), function, values.data(), values.size(),
                                                results.data(), results.size());
    WasmEdge_StatisticsSetCostLimit(statistics_.get(), kNoLimit);
    if (!WasmEdge_ResultOK(result))
      throw Refusal{trap(trap_kind(WasmEdge_ResultGetCode(result)), WasmEdge_ResultGetMessage(result))};
    json shown = json::array();
    for (const auto &value : results) shown.push_back(show(value));
    return {{"values", shown}};
  }

  // The bounds are compared in 64 bits; WasmEdge takes 32.
  void check(uint64_t address, uint64_t length) const {
    const uint64_t end = size() * kPage;
    if (address > end || length > end - address)
      throw Refusal{trap("out-of-bounds", std::to_string(address) + " is past " + std::to_string(end))};
  }

  json read(uint64_t address, uint64_t length) const {
    check(address, length);
    Bytes bytes(length);
    if (length > 0) WasmEdge_MemoryInstanceGetData(memory(), bytes.data(), address, length);
    return {{"bytes", hex(bytes.data(), length)}};
  }

  json write(uint64_t address, const Bytes &bytes) {
    check(address, bytes.size());
    if (!bytes.empty()) WasmEdge_MemoryInstanceSetData(memory(), bytes.data(), address, bytes.size());
    return json::object();
  }

  uint64_t size() const { return WasmEdge_MemoryInstanceGetPageSize(memory()); }

  json grow(uint64_t pages) {
    const uint64_t old = size();
    const bool done = pages <= kPage && WasmEdge_ResultOK(WasmEdge_MemoryInstanceGrowPage(memory(), pages));
    return {{"pages", done ? json(old) : json(-1)}};
  }

  json global(const std::string &name) const {
    const auto *global = WasmEdge_ModuleInstanceFindGlobal(module_.get(), wrap(name));
    if (!global) throw std::invalid_argument("no exported global `" + name + "`");
    return {{"value", show(WasmEdge_GlobalInstanceGetValue(global))}};
  }

 private:
  WasmEdge_MemoryInstanceContext *memory() const {
    auto *memory = WasmEdge_ModuleInstanceFindMemory(module_.get(), wrap("memory"));
    if (!memory) throw std::invalid_argument("no exported memory `memory`");
    return memory;
  }

  Owned<WasmEdge_ConfigureContext> configure_{WasmEdge_ConfigureCreate(), WasmEdge_ConfigureDelete};
  Owned<WasmEdge_StatisticsContext> statistics_{WasmEdge_StatisticsCreate(), WasmEdge_StatisticsDelete};
  Owned<WasmEdge_StoreContext> store_{WasmEdge_StoreCreate(), WasmEdge_StoreDelete};
  Owned<WasmEdge_ExecutorContext> executor_{nullptr, WasmEdge_ExecutorDelete};
  Owned<WasmEdge_ModuleInstanceContext> module_{nullptr, WasmEdge_ModuleInstanceDelete};
};

json perform(std::map<std::string, std::unique_ptr<Instance>> &instances, const json &ask) {
  static const char *const operations[] = {"instantiate", "call", "read", "write", "size", "grow", "global_get", "drop"};
  const std::string op = ask.at("op");
  if (op == "hello")
    return {{"protocol", 1}, {"adapter", "wasmedge"}, {"runtime", "wasmedge"}, {"version", WasmEdge_VersionGet()},
            {"capabilities", {"externref", "fuel", "grow", "resume-after-trap"}}};
  if (std::find(std::begin(operations), std::end(operations), op) == std::end(operations))
    throw Refusal{{{"result", "unsupported"}}};
  const std::string name = ask.at("instance");
  if (op == "instantiate") {
    instances[name] = std::make_unique<Instance>(unhex(ask.at("module")));
    return json::object();
  }
  const auto found = instances.find(name);
  if (found == instances.end()) throw std::invalid_argument("no instance `" + name + "`");
  Instance &instance = *found->second;
  if (op == "call")
    return instance.call(ask.at("name"), ask.at("args"), ask.contains("fuel") ? std::stoull(ask.at("fuel").get<std::string>()) : kNoLimit);
  if (op == "size") return {{"pages", instance.size()}};
  if (op == "grow") return instance.grow(ask.at("pages"));
  if (op == "global_get") return instance.global(ask.at("name"));
  if (op == "drop") {
    instances.erase(found);
    return json::object();
  }
  const uint64_t address = std::stoull(ask.at("address").get<std::string>());
  return op == "read" ? instance.read(address, ask.at("length")) : instance.write(address, unhex(ask.at("bytes")));
}

}  // namespace

int main() {
  WasmEdge_LogOff();
  std::map<std::string, std::unique_ptr<Instance>> instances;
  for (std::string line; std::getline(std::cin, line);) {
    json answer, id;
    try {
      const json ask = json::parse(line);
      id = ask.at("id");
      answer = perform(instances, ask);
      answer["result"] = "ok";
    } catch (const Refusal &refusal) {
      answer = refusal.answer;
    } catch (const std::exception &error) {
      answer = {{"result", "error"}, {"message", error.what()}};
    }
    answer["id"] = id;
    std::cout << answer.dump() << std::endl;
  }
}
