// Adapter for WasmEdge through its C API.
#include <wasmedge/wasmedge.h>

#include "protocol.hpp"

using namespace protocol;

namespace {

template <typename T>
using Owned = std::unique_ptr<T, void (*)(T *)>;

void require(WasmEdge_Result result, const char *stage) {
  if (!WasmEdge_ResultOK(result)) throw reject(stage, WasmEdge_ResultGetMessage(result));
}

WasmEdge_String wrap(const std::string &text) { return WasmEdge_StringWrap(text.data(), text.size()); }

WasmEdge_Value from_text(WasmEdge_ValType type, const std::string &text) {
  const auto [kind, bits] = parse(text);
  if (kind == "i32" && WasmEdge_ValTypeIsI32(type)) return WasmEdge_ValueGenI32(bits);
  if (kind == "i64" && WasmEdge_ValTypeIsI64(type)) return WasmEdge_ValueGenI64(bits);
  if (kind == "f32" && WasmEdge_ValTypeIsF32(type))
    return WasmEdge_ValueGenF32(same_bits<float>(static_cast<uint32_t>(bits)));
  if (kind == "f64" && WasmEdge_ValTypeIsF64(type)) return WasmEdge_ValueGenF64(same_bits<double>(bits));
  if (kind == "externref" && WasmEdge_ValTypeIsExternRef(type)) return WasmEdge_ValueGenExternRef(nullptr);
  throw std::invalid_argument("`" + text + "` is of another type");
}

std::string to_text(WasmEdge_Value value) {
  if (WasmEdge_ValTypeIsI32(value.Type)) return show("i32", static_cast<uint32_t>(WasmEdge_ValueGetI32(value)));
  if (WasmEdge_ValTypeIsI64(value.Type)) return show("i64", WasmEdge_ValueGetI64(value));
  if (WasmEdge_ValTypeIsF32(value.Type)) return show("f32", same_bits<uint32_t>(WasmEdge_ValueGetF32(value)));
  if (WasmEdge_ValTypeIsF64(value.Type)) return show("f64", same_bits<uint64_t>(WasmEdge_ValueGetF64(value)));
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
    default: return "other";
  }
}

// What one instruction costs, by opcode: 1, but nothing for what only marks structure, as elsewhere.
std::vector<uint64_t> cost_table() {
  std::vector<uint64_t> costs(65536, 1);
  // unreachable, nop, block, loop, else, end, return; drop as 0.14 numbers it, and as the binary format does.
  for (const int opcode : {0x00, 0x01, 0x02, 0x03, 0x05, 0x0b, 0x0f, 0x18, 0x1a}) costs[opcode] = 0;
  return costs;
}

class WasmEdge final : public Instance {
 public:
  explicit WasmEdge(const Bytes &binary) {
    WasmEdge_ConfigureStatisticsSetCostMeasuring(configure_.get(), true);
    static std::vector<uint64_t> costs = cost_table();
    WasmEdge_StatisticsSetCostTable(statistics_.get(), costs.data(), costs.size());
    WasmEdge_StatisticsSetCostLimit(statistics_.get(), kNoLimit);
    executor_.reset(WasmEdge_ExecutorCreate(configure_.get(), statistics_.get()));
    const Owned<WasmEdge_LoaderContext> loader(WasmEdge_LoaderCreate(configure_.get()), WasmEdge_LoaderDelete);
    const Owned<WasmEdge_ValidatorContext> validator(WasmEdge_ValidatorCreate(configure_.get()),
                                                     WasmEdge_ValidatorDelete);
    WasmEdge_ASTModuleContext *syntax = nullptr;
    require(WasmEdge_LoaderParseFromBuffer(loader.get(), &syntax, binary.data(), binary.size()), "compile");
    const Owned<WasmEdge_ASTModuleContext> parsed(syntax, WasmEdge_ASTModuleDelete);
    require(WasmEdge_ValidatorValidate(validator.get(), syntax), "compile");
    const auto *stage = WasmEdge_ASTModuleListImportsLength(syntax) > 0 ? "link" : "start";
    WasmEdge_ModuleInstanceContext *module = nullptr;
    require(WasmEdge_ExecutorInstantiate(executor_.get(), &module, store_.get(), syntax), stage);
    module_.reset(module);
  }

  std::vector<std::string> call(const std::string &name, const std::vector<std::string> &arguments,
                                uint64_t fuel) override {
    const auto *function = WasmEdge_ModuleInstanceFindFunction(module_.get(), wrap(name));
    if (!function) throw std::invalid_argument("no exported function `" + name + "`");
    const auto *type = WasmEdge_FunctionInstanceGetFunctionType(function);
    std::vector<WasmEdge_ValType> kinds(WasmEdge_FunctionTypeGetParametersLength(type));
    WasmEdge_FunctionTypeGetParameters(type, kinds.data(), kinds.size());
    if (kinds.size() != arguments.size()) throw std::invalid_argument("wrong count of arguments");
    std::vector<WasmEdge_Value> values, results(WasmEdge_FunctionTypeGetReturnsLength(type));
    for (size_t i = 0; i < kinds.size(); i++) values.push_back(from_text(kinds[i], arguments[i]));
    WasmEdge_StatisticsClear(statistics_.get());
    WasmEdge_StatisticsSetCostLimit(statistics_.get(), fuel);
    const auto result = WasmEdge_ExecutorInvoke(executor_.get(), function, values.data(), values.size(),
                                                results.data(), results.size());
    WasmEdge_StatisticsSetCostLimit(statistics_.get(), kNoLimit);
    if (!WasmEdge_ResultOK(result))
      throw trap(trap_kind(WasmEdge_ResultGetCode(result)), WasmEdge_ResultGetMessage(result));
    std::vector<std::string> shown;
    for (const auto &value : results) shown.push_back(to_text(value));
    return shown;
  }

  std::optional<uint64_t> used() override { return WasmEdge_StatisticsGetTotalCost(statistics_.get()); }

  uint64_t pages() override { return WasmEdge_MemoryInstanceGetPageSize(memory()); }

  bool grow(uint32_t pages) override { return WasmEdge_ResultOK(WasmEdge_MemoryInstanceGrowPage(memory(), pages)); }

  void read(uint64_t address, Bytes &bytes) override {
    WasmEdge_MemoryInstanceGetData(memory(), bytes.data(), address, bytes.size());
  }

  void write(uint64_t address, const Bytes &bytes) override {
    WasmEdge_MemoryInstanceSetData(memory(), bytes.data(), address, bytes.size());
  }

  std::string global(const std::string &name) override {
    const auto *global = WasmEdge_ModuleInstanceFindGlobal(module_.get(), wrap(name));
    if (!global) throw std::invalid_argument("no exported global `" + name + "`");
    return to_text(WasmEdge_GlobalInstanceGetValue(global));
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

}  // namespace

int main() {
  WasmEdge_LogOff();
  serve({{"adapter", "wasmedge"},
         {"runtime", "wasmedge"},
         {"version", WasmEdge_VersionGet()},
         {"capabilities", {"externref", "fuel", "fuel-used", "grow", "resume-after-trap"}}},
        [](const Bytes &binary) -> Maker { return [binary] { return std::make_unique<WasmEdge>(binary); }; });
}
